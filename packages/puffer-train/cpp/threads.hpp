// Threads that take the parts of one job, the caller among them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
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
  // thread takes a part is left to chance; who comes late is not waited for. `job` does not throw.
  template <class Job>
  void run(int parts, Job&& job) {
    if (size_ == 1 || parts == 1 || !begin()) {
      for (int part = 0; part < parts; ++part) job(part, 0);
      return;
    }
    call_ = [](void* target, int part, int thread) {
      (*static_cast<std::remove_reference_t<Job>*>(target))(part, thread);
    };
    target_ = &job;
    left_.store(parts, std::memory_order_relaxed);
    {
      const std::scoped_lock lock(mutex_);
      ticket_.store(Ticket{++round_, static_cast<std::uint16_t>(parts), 0},
                    std::memory_order_release);
    }
    wake_.notify_all();
    work(round_, 0);
    while (left_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  }

  int size() const { return size_; }

 private:
  // The next part of a round, in one word: who comes late to a round takes nothing of the next.
  struct Ticket {
    std::uint32_t round;
    std::uint16_t parts, next;
  };
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
    std::uint32_t seen = 0;
    const auto news = [&] { return ticket_.load(std::memory_order_acquire).round != seen; };
    for (;;) {
      for (int polls = 0; polls < kPolls && !news(); ++polls) std::this_thread::yield();
      if (!news()) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || news(); });
        if (stop_) return;
      }
      seen = ticket_.load(std::memory_order_acquire).round;
      work(seen, thread);
    }
  }

  // Takes parts of a round while there are any. The job lives until all that were taken are done.
  void work(std::uint32_t round, int thread) {
    Ticket ticket = ticket_.load(std::memory_order_acquire);
    while (ticket.round == round && ticket.next < ticket.parts) {
      const Ticket after{round, ticket.parts, static_cast<std::uint16_t>(ticket.next + 1)};
      if (!ticket_.compare_exchange_weak(ticket, after, std::memory_order_acq_rel)) continue;
      call_(target_, ticket.next, thread);
      left_.fetch_sub(1, std::memory_order_release);
      ticket = ticket_.load(std::memory_order_acquire);
    }
  }

  int size_;
  long process_ = 0;
  void (*call_)(void*, int, int) = nullptr;
  void* target_ = nullptr;
  bool stop_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::uint32_t round_ = 0;
  std::atomic<Ticket> ticket_{};
  std::atomic<int> left_{0};
  std::vector<std::thread> threads_;
};

}  // namespace puffer::train
