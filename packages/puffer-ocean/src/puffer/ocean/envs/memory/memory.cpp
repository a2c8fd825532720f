#include "memory_block.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(memory, memory::Memory, memory::MemoryBlock)
