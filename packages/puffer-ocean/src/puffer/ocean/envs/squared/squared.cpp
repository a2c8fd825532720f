#include "squared.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(squared, squared::Squared)
