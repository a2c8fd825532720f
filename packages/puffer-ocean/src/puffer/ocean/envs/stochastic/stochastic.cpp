#include "stochastic_block.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(stochastic, stochastic::Stochastic, stochastic::StochasticBlock)
