#include "breakout_block.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(breakout, breakout::Breakout, breakout::BreakoutBlock)
