#include "connect4.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(connect4, connect4::Connect4)
