// The version of the headers, the CMake package and the wheel: their one source.
#pragma once

#define PUFFER_OCEAN_VERSION "0.1.0"

// Grows when what Python sees of a compiled extension changes; checked when one is loaded.
#define PUFFER_OCEAN_PROTOCOL 4
