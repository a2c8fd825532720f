// A MinGRU on rows in vector registers, forwards and backwards in time; puffer.train.models.recurrent
// has its formula: f = sigmoid(W_f x), h_t = (1 - f) h_{t-1} + f u with u = W_u x,
// p = sigmoid(W_p x), y = x + p (h_t - x).
#pragma once

#include <bit>
#include <cstdint>

#include "perceptron.hpp"
#include "product.hpp"

namespace puffer::train::PUFFER_LEVEL {

typedef std::int32_t Integers __attribute__((vector_size(4 * kLanes)));

inline LanesInMemory& lanes(float* at) { return *reinterpret_cast<LanesInMemory*>(at); }
inline Lanes lanes(const float* at) { return *reinterpret_cast<const LanesInMemory*>(at); }

// 1 / (1 + e^-x): e^r of a remainder |r| < ln(2) / 2 by the polynomial of Cephes' expf (Moshier 1989,
// https://www.netlib.org/cephes), the whole powers of two by the exponent's bits.
inline Lanes sigmoid(Lanes x) {
  constexpr float kMost = 87, kLog2 = 0.693359375f, kLog2Rest = -2.12194440e-4f;
  constexpr float kRound = 12582912;  // 1.5 * 2^23: adding it rounds to whole numbers
  Lanes y = -x;
  y = y > kMost ? Lanes{} + kMost : y;
  y = y < -kMost ? Lanes{} - kMost : y;
  const Lanes whole = (y * 1.44269504f + kRound) - kRound;
  const Lanes r = (y - whole * kLog2) - whole * kLog2Rest;
  Lanes series = Lanes{} + 1.9875691500e-4f;
  series = series * r + 1.3981999507e-3f;
  series = series * r + 8.3334519073e-3f;
  series = series * r + 4.1665795894e-2f;
  series = series * r + 1.6666665459e-1f;
  series = series * r + 5.0000001201e-1f;
  series = series * (r * r) + r + 1.0f;
  const Integers exponent = (__builtin_convertvector(whole, Integers) + 127) << 23;
  return 1.0f / (1.0f + series * std::bit_cast<Lanes>(exponent));
}

// From what the gates' products gave to the outputs, of `steps` times `agents` rows, time first:
// `gates` holds the candidates and what both sigmoids return afterwards.
inline void remember(const Packed& packed, int steps, int agents, Workspace& work) {
  const int columns = packed.hidden_columns;
  for (int row = 0; row < steps * agents; ++row) {
    const float alive = work.alive.data()[row];
    const float* hidden = work.hidden.data() + std::int64_t{row} * packed.hidden_row;
    const float* old = row < agents ? work.before.data() + std::int64_t{row} * columns
                                    : work.memory.data() + std::int64_t{row - agents} * columns;
    float* memory = work.memory.data() + std::int64_t{row} * columns;
    float* top = work.top.data() + std::int64_t{row} * packed.hidden_row;
    float* gates = work.gates.data() + std::int64_t{row} * kGates * columns;
    for (int j = 0; j < columns; j += kLanes) {
      const Lanes candidate = lanes(gates + j), x = lanes(hidden + j);
      const Lanes gate = sigmoid(lanes(gates + columns + j));
      const Lanes share = sigmoid(lanes(gates + 2 * columns + j));
      const Lanes h = (1.0f - gate) * alive * lanes(old + j) + gate * candidate;
      lanes(gates + columns + j) = gate;
      lanes(gates + 2 * columns + j) = share;
      lanes(memory + j) = h;
      lanes(top + j) = x + share * (h - x);
    }
  }
}

// From the gradients of the outputs, in `hidden_back`, to those of the gates' products, and to what
// the inputs get directly, in `hidden_back` too.
inline void remember_back(const Packed& packed, int steps, int agents, Workspace& work) {
  const int columns = packed.hidden_columns;
  for (int row = steps * agents - 1; row >= 0; --row) {
    const float alive = work.alive.data()[row];
    const bool last = row >= (steps - 1) * agents;
    const float* hidden = work.hidden.data() + std::int64_t{row} * packed.hidden_row;
    const float* memory = work.memory.data() + std::int64_t{row} * columns;
    const float* old = row < agents ? work.before.data() + std::int64_t{row} * columns
                                    : work.memory.data() + std::int64_t{row - agents} * columns;
    const float* gates = work.gates.data() + std::int64_t{row} * kGates * columns;
    float* back = work.hidden_back.data() + std::int64_t{row} * columns;
    float* gates_back = work.gates_back.data() + std::int64_t{row} * kGates * columns;
    float* flow = work.flow.data() + std::int64_t{row % agents} * columns;
    for (int j = 0; j < columns; j += kLanes) {
      const Lanes candidate = lanes(gates + j), gate = lanes(gates + columns + j);
      const Lanes share = lanes(gates + 2 * columns + j), slope = lanes(back + j);
      const Lanes total = slope * share + (last ? Lanes{} : Lanes(lanes(flow + j)));
      lanes(gates_back + j) = total * gate;
      lanes(gates_back + columns + j) =
          total * (candidate - alive * lanes(old + j)) * gate * (1.0f - gate);
      lanes(gates_back + 2 * columns + j) =
          slope * (lanes(memory + j) - lanes(hidden + j)) * share * (1.0f - share);
      lanes(flow + j) = total * (1.0f - gate) * alive;
      lanes(back + j) = slope * (1.0f - share);
    }
  }
}

}  // namespace puffer::train::PUFFER_LEVEL
