#include "snake.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(snake, snake::Snake)
