// The map of an arena, stored so that a snake's window lies in a few lines of the cache.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace snake {

enum Move : std::uint8_t { kUp, kDown, kLeft, kRight, kMoves };

// Strips of 16 columns from top to bottom, one after the other: a place is the index of a tile in
// this order. A line of the cache holds 16 x 4 tiles, so that a window of 11 x 11 touches 6 of
// them; of a map row by row it would touch 13.
class ArenaMap {
 public:
  ArenaMap(int rows, int columns, std::int8_t tile)
      : strip_(kWidth * rows),
        tiles_(index(strip_ * ((columns + kWidth - 1) / kWidth) + kWidth), tile) {
    ways_[kUp].fill(-kWidth);
    ways_[kDown].fill(kWidth);
    ways_[kLeft].fill(-1);
    ways_[kLeft].front() = kWidth - 1 - strip_;
    ways_[kRight].fill(1);
    ways_[kRight].back() = strip_ - (kWidth - 1);
  }

  std::int8_t& operator[](int place) { return tiles_[index(place)]; }
  const std::int8_t& operator[](int place) const { return tiles_[index(place)]; }

  int at(int row, int column) const {
    return column / kWidth * strip_ + row * kWidth + column % kWidth;
  }
  int row_of(int place) const { return place % strip_ / kWidth; }
  int column_of(int place) const { return place / strip_ * kWidth + place % kWidth; }
  // The neighbour of a place that is not at the edge.
  int next(int place, std::uint32_t move) const {
    return place + ways_[move][index(place & kInner)];
  }
  // The place that is as many rows above and as many columns to the left.
  int corner(int place, int distance) const {
    const int strips = ((place & kInner) - distance) >> kShift;  // to the left: negative
    return place - (kWidth + 1) * distance + strips * (strip_ - kWidth);
  }

  // Sets a rectangle whose upper left tile is in this row and column.
  void fill(int top, int left, int rows, int columns, std::int8_t tile) {
    for (int column = left, width; column < left + columns; column += width) {
      width = std::min(kWidth - column % kWidth, left + columns - column);
      for (int row = top; row < top + rows; ++row) {
        std::fill_n(&(*this)[at(row, column)], width, tile);
      }
    }
  }

  // Inline: g++ drops calls of a function that does nothing but prefetch.
  [[gnu::always_inline]] void prefetch(int place) const { __builtin_prefetch(&(*this)[place]); }

  // Fetches the window whose upper left tile is `corner` into the cache.
  template <int kSide>
  [[gnu::always_inline]] void prefetch_window(int corner, int side = kSide) const {
    const int length = kWidth * side;
    for (int k = 0; k < strips(side); ++k) {
      const std::int8_t* const strip = &(*this)[corner + used(k, corner, side) * strip_];
      for (int i = 0; i < length + 63; i += 64) __builtin_prefetch(strip + std::min(i, length - 1));
    }
  }

  // Copies that window in moves of 16 tiles. What they write beyond the end of a row, the next row
  // overwrites; there must be room for kBeyond more after the last one.
  template <int kSide>
  void copy_window(int corner, std::int8_t* out, int side = kSide) const {
    const std::int8_t* row = &(*this)[corner];
    const int strip = strip_, inner = corner & kInner;  // copies: what is written may alias members
#pragma GCC unroll 16
    for (int k = 0; k < side; ++k, row += kWidth, out += side) {
      std::memcpy(out, row, kWidth);
      for (int i = 1; i < strips(side); ++i) {
        const std::int8_t* const more = row - inner + used(i, corner, side) * strip;
        std::memcpy(out - inner + kWidth * i, more, kWidth);
      }
    }
  }
  static constexpr std::size_t kBeyond = 32;

  // The same, and not a tile more.
  void copy_exactly(int corner, std::int8_t* out, int side) const {
    const int top = row_of(corner), left = column_of(corner);
    for (int row = top; row < top + side; ++row) {
      for (int column = left; column < left + side; ++column) *out++ = (*this)[at(row, column)];
    }
  }

  // As the memory has them.
  std::vector<std::int8_t>& tiles() { return tiles_; }
  const std::vector<std::int8_t>& tiles() const { return tiles_; }

 private:
  static constexpr int kShift = 4;
  static constexpr int kWidth = 1 << kShift;  // of a strip
  static constexpr int kInner = kWidth - 1;   // masks the column within a strip

  static std::size_t index(int place) { return static_cast<std::size_t>(place); }

  // In how many strips a window may lie, and the k-th of them, or the last one in which it does.
  static constexpr int strips(int side) { return (side + kWidth - 2) / kWidth + 1; }
  static int used(int k, int corner, int side) {
    return ((corner & kInner) + std::min(kWidth * k, side - 1)) >> kShift;
  }

  int strip_;                                         // tiles of a strip
  std::array<std::array<int, kWidth>, kMoves> ways_;  // to a neighbour, by the column in the strip
  std::vector<std::int8_t> tiles_;  // and a row more, which copies may read
};

}  // namespace snake
