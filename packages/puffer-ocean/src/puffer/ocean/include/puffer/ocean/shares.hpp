// Hands the parts of a job to threads: each begins with its own ones and helps the others then.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

#include "puffer/ocean/pool.hpp"

namespace puffer::ocean {

// Cores differ in speed from one moment to the next, so that fixed shares would wait for the slowest.
// A thread's own parts are the same in every round, and so in its cache.
class Shares {
 public:
  // `parts` parts, numbered from 0, for `threads` threads.
  Shares(std::size_t parts, std::size_t threads) : parts_(parts), next_(threads) {}

  // Makes all parts open; no thread may be at work.
  void open() {
    for (std::size_t owner = 0; owner < next_.size(); ++owner) next_[owner].part = first(owner);
  }

  // Calls work(first, last) for chunks of parts until none is left.
  template <class Work>
  void work(std::size_t thread, Work&& work) {
    for (std::size_t k = 0; k < next_.size(); ++k) {
      const std::size_t owner = (thread + k) % next_.size();
      const std::size_t end = first(owner + 1);
      const std::size_t chunk = std::max<std::size_t>((end - first(owner)) / kChunks, 1);
      for (;;) {
        const std::size_t part = next_[owner].part.fetch_add(chunk, std::memory_order_relaxed);
        if (part >= end) break;
        work(part, std::min(part + chunk, end));
      }
    }
  }

 private:
  static constexpr std::size_t kChunks = 8;  // of a thread's share: what it may wait for at the end

  std::size_t first(std::size_t owner) const { return parts_ * owner / next_.size(); }

  struct alignas(kCacheLine) Next {
    std::atomic<std::size_t> part{0};
  };
  std::size_t parts_;
  std::vector<Next> next_;  // part of each thread's own ones that nobody has taken
};

}  // namespace puffer::ocean
