// Threads that take the parts of one job, the caller among them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace puffer::train {

class Threads {
 public:
  explicit Threads(int size) : size_(size) {}
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  ~Threads() {
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    const bool ours = process_ == process();
    for (auto& thread : threads_) ours ? thread.join() : thread.detach();
  }

  // Calls job(part, thread) for each part in [0, parts) and returns when all have returned. Which
  // thread takes a part is left to chance. `job` does not throw.
  template <class Job>
  void run(int parts, Job&& job) {
    if (size_ == 1 || parts == 1 || !begin()) {
      for (int part = 0; part < parts; ++part) job(part, 0);
      return;
    }
    {
      const std::scoped_lock lock(mutex_);
      call_ = [](void* target, int part, int thread) {
        (*static_cast<std::remove_reference_t<Job>*>(target))(part, thread);
      };
      target_ = &job;
      parts_ = parts;
      next_.store(0, std::memory_order_relaxed);
      busy_.store(size_ - 1, std::memory_order_relaxed);
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    while (busy_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  }

  int size() const { return size_; }

 private:
  static constexpr int kPolls = 500;  // some 150 microseconds, then block

  static long process() {
#if defined(__unix__) || defined(__APPLE__)
    return static_cast<long>(getpid());
#else
    return 0;
#endif
  }

  // Starts the threads at the first job; false in a fork, which has none.
  bool begin() {
    if (threads_.empty()) {
      process_ = process();
      for (int thread = 1; thread < size_; ++thread) {
        threads_.emplace_back([this, thread] { serve(thread); });
      }
    }
    return process_ == process();
  }

  void serve(int thread) {
    for (int seen = 0;;) {
      for (int polls = 0; polls < kPolls && round_.load(std::memory_order_acquire) == seen; ++polls)
        std::this_thread::yield();
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || round_.load() != seen; });
        if (stop_) return;
        seen = round_.load();
      }
      work(thread);
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  void work(int thread) {
    for (int part; (part = next_.fetch_add(1, std::memory_order_relaxed)) < parts_;) {
      call_(target_, part, thread);
    }
  }

  int size_;
  long process_ = 0;
  int parts_ = 0;
  void (*call_)(void*, int, int) = nullptr;
  void* target_ = nullptr;
  bool stop_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> round_{0}, next_{0}, busy_{0};
  std::vector<std::thread> threads_;
};

}  // namespace puffer::train
