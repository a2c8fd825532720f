// Writes rows of observations in the type that the arrays have: the author's, or float16 for float.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "puffer/ocean/lanes.hpp"

namespace puffer::ocean {

// What a writer of rows, an environment or a block, writes without help. One whose functions are
// templates over the element writes float16 itself; for the others the engine rounds whole rows.
template <class W, class T>
concept ObservesAs = requires(const W& writer, std::span<T> rows) { writer.observe(rows); };
template <class W, class T>
concept UpdatesAs = requires(W& writer, std::span<T> rows) { writer.update(rows); };

// Rows as the author writes them: `size` elements of an array from `first` on.
template <class Obs>
class OwnRows {
 public:
  template <ObservesAs<Obs> W>
  void observe(const W& writer, void* array, std::size_t first, std::size_t size) {
    writer.observe(std::span{static_cast<Obs*>(array) + first, size});
  }

  // Writes at least what has changed.
  template <UpdatesAs<Obs> W>
  void update(W& writer, void* array, std::size_t first, std::size_t size) {
    writer.update(std::span{static_cast<Obs*>(array) + first, size});
  }

  void blank(void* array, std::size_t first, std::size_t size) {
    std::fill_n(static_cast<Obs*>(array) + first, size, Obs());
  }
};

// Rows of float16, of an author who writes float; for one call of one thread. All has reached the
// arrays when it is destroyed: a row that was rounded at once would be waited for, number by number.
class HalfRows {
 public:
  HalfRows() = default;
  HalfRows(const HalfRows&) = delete;
  HalfRows& operator=(const HalfRows&) = delete;
  ~HalfRows() { flush(); }

  template <ObservesAs<float> W>
  void observe(const W& writer, void* array, std::size_t first, std::size_t size) {
    const std::span rows{static_cast<Half*>(array) + first, size};
    if constexpr (ObservesAs<W, Half>) {
      writer.observe(rows);
    } else {
      writer.observe(wait_for(rows));
    }
  }

  template <UpdatesAs<float> W>
  void update(W& writer, void* array, std::size_t first, std::size_t size) {
    const std::span rows{static_cast<Half*>(array) + first, size};
    if constexpr (UpdatesAs<W, Half>) {
      writer.update(rows);
    } else {
      const std::span<float> floats = wait_for(rows);
      std::as_const(writer).observe(floats);
      writer.update(floats);  // which may forget now what has changed
    }
  }

  void blank(void* array, std::size_t first, std::size_t size) {
    flush();
    std::fill_n(static_cast<Half*>(array) + first, size, Half());
  }

 private:
  static constexpr std::size_t kFloats = 256;  // that wait to be rounded, if a row is not longer

  // Where to write what belongs into `rows`.
  std::span<float> wait_for(std::span<Half> rows) {
    if (rows.data() != to_ + waiting_ || waiting_ + rows.size() > room_) begin(rows);
    const std::span<float> floats{floats_.get() + waiting_, rows.size()};
    waiting_ += rows.size();
    return floats;
  }

  [[gnu::noinline]] void begin(std::span<Half> rows) {
    flush();
    to_ = rows.data();
    if (rows.size() <= room_) return;
    room_ = std::max(kFloats, rows.size());
    floats_ = std::make_unique_for_overwrite<float[]>(room_);
  }

  [[gnu::noinline]] void flush() {
    if (waiting_ != 0) round_to_halves({floats_.get(), waiting_}, to_);
    waiting_ = 0;
  }

  std::unique_ptr<float[]> floats_;
  std::size_t room_ = 0;
  std::size_t waiting_ = 0;  // floats that belong into the halves from `to_` on
  Half* to_ = nullptr;
};

// Calls visit(rows) with what writes into arrays of Obs, or of float16 if `halves`.
template <class Obs, class Visit>
void with_rows(bool halves, Visit&& visit) {
  if constexpr (std::same_as<Obs, float>) {
    if (halves) {
      HalfRows rows;
      return visit(rows);
    }
  }
  OwnRows<Obs> rows;
  visit(rows);
}

}  // namespace puffer::ocean
