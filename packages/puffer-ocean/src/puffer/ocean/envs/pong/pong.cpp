#include "pong_block.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(pong, pong::Pong, pong::PongBlock)
