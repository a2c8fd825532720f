#include "pong.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(pong, pong::Pong)
