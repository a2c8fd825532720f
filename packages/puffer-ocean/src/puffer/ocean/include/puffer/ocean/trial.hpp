// Finds out by measuring how many threads an engine's steps are worth.
#pragma once

#include <algorithm>
#include <limits>

namespace puffer::ocean {

// Watches the first steps: each stage has twice the threads of the one before, and the first stage
// that is not a tenth faster ends the trial. A step's time is the least of several, since whatever
// else the machine does can only make it longer.
class ThreadTrial {
 public:
  // At most `most` threads; 1 ends the trial before it began.
  explicit ThreadTrial(int most) : most_(most) { done_ = most_ == 1; }

  bool done() const { return done_; }
  // How many threads the next step is to have.
  int threads() const { return done_ ? best_ : stage_; }

  // Takes the duration of a step with `threads()` threads.
  void record(double seconds) {
    if (done_ || ++steps_ <= kIgnored) return;
    fastest_ = std::min(fastest_, seconds);
    if (steps_ < kIgnored + kCounted) return;
    const bool pays = stage_ == 1 || fastest_ < 0.9 * best_seconds_;
    if (pays) {
      best_ = stage_;
      best_seconds_ = fastest_;
    }
    done_ = !pays || best_seconds_ < kTooShort || 2 * stage_ > most_;
    stage_ *= 2;
    steps_ = 0;
    fastest_ = std::numeric_limits<double>::infinity();
  }

 private:
  static constexpr int kIgnored = 2;  // threads start, caches warm up
  static constexpr int kCounted = 9;
  static constexpr double kTooShort = 30e-6;  // less is not worth waking anybody up

  int most_;
  int stage_ = 1;
  int steps_ = 0;
  int best_ = 1;
  bool done_;
  double fastest_ = std::numeric_limits<double>::infinity();
  double best_seconds_ = std::numeric_limits<double>::infinity();
};

}  // namespace puffer::ocean
