#include "cartpole_block.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(cartpole, cartpole::Cartpole, cartpole::CartpoleBlock)
