// Threads that share one job: the caller may take part, the first exception reaches it.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "puffer/ocean/errors.hpp"

namespace puffer::ocean {

inline constexpr std::size_t kCacheLine = 64;

class Pool {
 public:
  explicit Pool(int size) : size_(size) { begin(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  ~Pool() {
    if (process() == process_) {
      stop();
    } else {
      forget();
    }
  }

  int size() const { return size_; }

  // Calls job(worker) once for each worker in [0, size) and returns when all have returned.
  template <class Job>
  void run(Job&& job) {
    if (size_ == 1) return job(0);
    launch(job);
    guarded(0);
    join();
  }

  // Has the threads call job(worker), for all workers but 0, and returns; `join` must follow, and
  // `job` must live until then.
  template <class Job>
  void launch(Job& job) {
    if (process() != process_) {  // a fork copied the handles, not the threads
      forget();
      begin();
    }
    call_ = [](void* target, int worker) { (*static_cast<Job*>(target))(worker); };
    target_ = &job;
    pending_.store(size_ - 1, std::memory_order_relaxed);
    announce();
  }

  // Waits for what was launched; what a job threw first is thrown here.
  void join() {
    wait_while(pending_, [](std::int32_t left) { return left != 0; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  static constexpr int kPolls = 100;  // some 50 microseconds, then block

  static long process() {
#if defined(__unix__) || defined(__APPLE__)
    return static_cast<long>(getpid());
#else
    return 0;
#endif
  }

  // Returns the first value of `word` for which `busy` is false.
  template <class Busy>
  static std::int32_t wait_while(std::atomic<std::int32_t>& word, Busy busy) {
    for (int polls = 0;; ++polls) {
      const std::int32_t value = word.load(std::memory_order_acquire);
      if (!busy(value)) return value;
      if (polls < kPolls) {
        std::this_thread::yield();
      } else {
        word.wait(value, std::memory_order_acquire);
      }
    }
  }

  void begin() {
    process_ = process();
    const std::int32_t seen = round_.load(std::memory_order_relaxed);
    try {
      for (int worker = 1; worker < size_; ++worker) {
        threads_.emplace_back([this, worker, seen] { serve(worker, seen); });
      }
    } catch (const std::system_error&) {
      stop();
      throw UsageError("num_threads=" + std::to_string(size_) + ": only " +
                       std::to_string(threads_.size() + 1) + " could be started: use fewer");
    }
  }

  void forget() {
    for (auto& thread : threads_) thread.detach();
    threads_.clear();
  }

  void stop() {
    stop_.store(true, std::memory_order_relaxed);
    announce();
    for (auto& thread : threads_) thread.join();
  }

  void announce() {
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }

  void serve(int worker, std::int32_t seen) {
    for (;;) {
      seen = wait_while(round_, [seen](std::int32_t round) { return round == seen; });
      if (stop_.load(std::memory_order_relaxed)) return;
      guarded(worker);
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
    }
  }

  void guarded(int worker) {
    try {
      call_(target_, worker);
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  int size_;
  long process_ = 0;
  void (*call_)(void*, int) = nullptr;
  void* target_ = nullptr;
  std::mutex mutex_;
  std::exception_ptr error_;
  alignas(kCacheLine) std::atomic<std::int32_t> round_{0};
  alignas(kCacheLine) std::atomic<std::int32_t> pending_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;  // last: they start when all above is ready
};

}  // namespace puffer::ocean
