#include "memory.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(memory, memory::Memory)
