#include "breakout.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(breakout, breakout::Breakout)
