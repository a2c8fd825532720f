#include "stochastic.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(stochastic, stochastic::Stochastic)
