#include "password.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(password, password::Password)
