#include "bandit.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(bandit, bandit::Bandit)
