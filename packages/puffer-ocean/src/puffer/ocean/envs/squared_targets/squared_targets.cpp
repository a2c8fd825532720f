#include "squared_targets.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(squared_targets, squared_targets::SquaredTargets)
