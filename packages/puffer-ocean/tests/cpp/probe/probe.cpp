#include "drift.hpp"
#include "probe.hpp"
#include <puffer/ocean/registry.hpp>
PUFFER_ENV(pair, probe::Pair)
PUFFER_ENV(choices, probe::Choices)
PUFFER_ENV(sticks, probe::Sticks)
PUFFER_ENV(drift, probe::Drift, probe::DriftBlock)
