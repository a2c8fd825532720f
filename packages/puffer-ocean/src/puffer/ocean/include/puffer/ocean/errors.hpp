// Errors that reach the Python caller as puffer.core.errors of the same names.
#pragma once

#include <stdexcept>

namespace puffer::ocean {

// A call or an option that cannot be served. Say what was given, what was expected, the remedy.
class UsageError : public std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

class ResetNeeded : public UsageError {
  using UsageError::UsageError;
};

class ClosedError : public UsageError {
  using UsageError::UsageError;
};

}  // namespace puffer::ocean
