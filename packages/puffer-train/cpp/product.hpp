// Products of matrices that are small enough to stay in a core's cache, in vector registers.
#pragma once

#include <cstddef>

namespace puffer::train::PUFFER_LEVEL {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

// The second may lie anywhere, and be what other code calls floats.
typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef float LanesInMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

// a(i, k) is at[i * row + k * column]: a transposed matrix is one with the two exchanged.
struct Left {
  const float* at;
  std::ptrdiff_t row, column;
};

// kRows rows and kColumns vectors of c, which stay in registers for the whole sum.
template <int kRows, int kColumns, bool kAdd>
inline void block(Left a, const float* b, std::ptrdiff_t b_row, int depth, float* c,
                  std::ptrdiff_t c_row) {
  Lanes sum[kRows][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) {
      sum[i][j] = kAdd ? *reinterpret_cast<LanesInMemory*>(c + i * c_row + j * kLanes) : Lanes{};
    }
  }
  for (int k = 0; k < depth; ++k) {
    Lanes right[kColumns];
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) {
      right[j] = *reinterpret_cast<const LanesInMemory*>(b + k * b_row + j * kLanes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const float left = a.at[i * a.row + k * a.column];
#pragma GCC unroll 2
      for (int j = 0; j < kColumns; ++j) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) {
      *reinterpret_cast<LanesInMemory*>(c + i * c_row + j * kLanes) = sum[i][j];
    }
  }
}

template <int kColumns, bool kAdd>
inline void band(int rows, Left a, const float* b, std::ptrdiff_t b_row, int depth, float* c,
                 std::ptrdiff_t c_row) {
  constexpr int kRows = 6;  // with two columns, 12 of 16 registers are sums
  for (; rows >= kRows; rows -= kRows, a.at += kRows * a.row, c += kRows * c_row) {
    block<kRows, kColumns, kAdd>(a, b, b_row, depth, c, c_row);
  }
  switch (rows) {
    case 5: return block<5, kColumns, kAdd>(a, b, b_row, depth, c, c_row);
    case 4: return block<4, kColumns, kAdd>(a, b, b_row, depth, c, c_row);
    case 3: return block<3, kColumns, kAdd>(a, b, b_row, depth, c, c_row);
    case 2: return block<2, kColumns, kAdd>(a, b, b_row, depth, c, c_row);
    case 1: return block<1, kColumns, kAdd>(a, b, b_row, depth, c, c_row);
    default: return;
  }
}

// c (rows, columns) = a (rows, depth) b (depth, columns), added to what c holds if kAdd. `columns`
// is a multiple of kLanes; b and c are row-major with rows of b_row and c_row floats.
template <bool kAdd>
void product(int rows, int columns, int depth, Left a, const float* b, std::ptrdiff_t b_row,
             float* c, std::ptrdiff_t c_row) {
  int j = 0;
  for (; j + 2 * kLanes <= columns; j += 2 * kLanes) {
    band<2, kAdd>(rows, a, b + j, b_row, depth, c + j, c_row);
  }
  if (j < columns) band<1, kAdd>(rows, a, b + j, b_row, depth, c + j, c_row);
}

}  // namespace puffer::train::PUFFER_LEVEL
