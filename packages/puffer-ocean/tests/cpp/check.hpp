// The little that C++ tests need: count what fails, say where.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>

inline int failures = 0;

inline void check(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  ++failures;
}

inline void check_near(double value, double expected, const std::string& what) {
  check(std::abs(value - expected) < 1e-3,
        what + ": expected " + std::to_string(expected) + ", got " + std::to_string(value));
}
