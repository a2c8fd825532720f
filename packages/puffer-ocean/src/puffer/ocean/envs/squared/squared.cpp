#include "squared_block.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(squared, squared::Squared, squared::SquaredBlock)
