#include "cartpole.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(cartpole, cartpole::Cartpole)
