#include "continuous.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(continuous, continuous::Continuous)
