#include "maze.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(maze, maze::Maze)
