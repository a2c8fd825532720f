// Forward pass, loss of proximal policy optimization and gradients of a perceptron, tile by tile:
// nothing but the weights, a tile of rows and the gradients is touched between reading an
// observation and having learned from it. Compiled once for each instruction set.
#include "perceptron.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "mingru.hpp"
#include "product.hpp"

namespace puffer::train::PUFFER_LEVEL {
namespace {

constexpr float kForbidden = -1e9f;  // as puffer.train.actions.apply_masks
constexpr float kHalfLogTwoPi = 0.91893853320467274178f;

void pack_gate(const Network& net, Packed& packed, int gate, const float* weight,
               const float* bias) {
  const std::int64_t columns = packed.hidden_columns, row = kGates * columns;
  for (int i = 0; i < net.hidden; ++i, weight += net.hidden) {
    const std::int64_t unit = gate * columns + i;
    for (int j = 0; j < net.hidden; ++j) {
      packed.cell[j * row + unit] = packed.cell_back[unit * columns + j] = weight[j];
    }
    packed.cell[net.hidden * row + unit] = bias[i];
  }
}

void pack(const Network& net, Packed& packed) {
  const int columns = packed.hidden_columns;
  for (int j = 0; j < net.hidden; ++j) {
    const float* weight = net.first.weight + std::int64_t{j} * net.inputs;
    for (int k = 0; k < net.inputs; ++k) packed.first[k * columns + j] = weight[k];
    packed.first[net.inputs * columns + j] = net.first.bias[j];
  }
  if (net.memory) {
    pack_gate(net, packed, 0, net.candidate.weight, net.candidate.bias);
    for (int gate = 1; gate < kGates; ++gate) {
      const std::int64_t row = std::int64_t{gate - 1} * net.hidden;
      pack_gate(net, packed, gate, net.gates.weight + row * net.hidden, net.gates.bias + row);
    }
  }
  int o = 0;
  for (const Linear& head : net.heads) {
    for (int i = 0; i < head.outputs; ++i, ++o) {
      const float* weight = head.weight + std::int64_t{i} * net.hidden;
      for (int j = 0; j < net.hidden; ++j) {
        packed.heads[j * packed.output_row + o] = weight[j];
        packed.heads_back[o * columns + j] = weight[j];
      }
      packed.heads[net.hidden * packed.output_row + o] = head.bias[i];
    }
  }
}

// IEEE 754 binary16, read by operations that compilers turn into vectors.
struct Half {
  std::uint16_t bits;

  explicit operator float() const {
    const std::uint32_t digits = (bits & 0x7FFFu) << 13;
    const float finite = std::bit_cast<float>(digits) * 0x1p112f;  // the exponent's bias is 112 less
    const std::uint32_t magnitude = digits < (0x7C00u << 13) ? std::bit_cast<std::uint32_t>(finite)
                                                              : digits | 0x7F800000u;
    return std::bit_cast<float>(magnitude | (bits & 0x8000u) << 16);
  }
};

template <class Number>
void read_row(const Network& net, const Observations& from, std::int64_t row, float* x) {
  const Number* given = static_cast<const Number*>(from.data) + row * net.inputs;
  if (from.mean != nullptr) {
    for (int k = 0; k < net.inputs; ++k) {
      const float value = (static_cast<float>(given[k]) - from.mean[k]) / from.deviation[k];
      x[k] = std::min(std::max(value, -from.clip), from.clip);
    }
  } else {
    for (int k = 0; k < net.inputs; ++k) x[k] = static_cast<float>(given[k]) * from.scale;
  }
  x[net.inputs] = 1;
}

void read(const Network& net, const Observations& from, std::int64_t row, float* x) {
  switch (from.kind) {
    case Kind::kFloat32: return read_row<float>(net, from, row, x);
    case Kind::kUint8: return read_row<std::uint8_t>(net, from, row, x);
    case Kind::kInt8: return read_row<std::int8_t>(net, from, row, x);
    case Kind::kInt16: return read_row<std::int16_t>(net, from, row, x);
    case Kind::kInt32: return read_row<std::int32_t>(net, from, row, x);
    case Kind::kFloat64: return read_row<double>(net, from, row, x);
    case Kind::kFloat16: return read_row<Half>(net, from, row, x);
  }
}

// Rows of a minibatch lie anywhere in memory: each is asked for a few rows before it is read.
constexpr int kAhead = 4;

void prefetch(const Network& net, const Observations& from, std::int64_t row) {
#if defined(__GNUC__)
  const std::int64_t bytes = std::int64_t{net.inputs} * from.bytes;
  const char* start = static_cast<const char*>(from.data) + row * bytes;
  for (std::int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(start + line);
#endif
}

// The hidden layer of the tile's inputs.
void encode(const Network& net, const Packed& packed, int rows, Workspace& work) {
  product<false>(rows, packed.hidden_columns, net.inputs + 1,
                 {work.inputs.data(), packed.input_row, 1}, packed.first.data(),
                 packed.hidden_columns, work.hidden.data(), packed.hidden_row);
  for (int r = 0; r < rows; ++r) {
    float* h = work.hidden.data() + r * packed.hidden_row;
    for (int j = 0; j < net.hidden; ++j) h[j] = h[j] > 0 ? h[j] : 0;
    h[net.hidden] = 1;
  }
}

// What the heads read after `steps` times `agents` rows that are encoded; `alive` and `before`
// are there.
const float* pass_memory(const Network& net, const Packed& packed, int steps, int agents,
                         Workspace& work) {
  if (!net.memory) return work.hidden.data();
  const int rows = steps * agents, columns = kGates * packed.hidden_columns;
  product<false>(rows, columns, net.hidden + 1, {work.hidden.data(), packed.hidden_row, 1},
                 packed.cell.data(), columns, work.gates.data(), columns);
  remember(packed, steps, agents, work);
  for (int r = 0; r < rows; ++r) work.top.data()[r * packed.hidden_row + net.hidden] = 1;
  return work.top.data();
}

void decode(const Network& net, const Packed& packed, int rows, const float* top,
            Workspace& work) {
  product<false>(rows, packed.output_row, net.hidden + 1, {top, packed.hidden_row, 1},
                 packed.heads.data(), packed.output_row, work.outputs.data(), packed.output_row);
}

void forward(const Network& net, const Packed& packed, const Observations& observations,
             const Memory& memory, std::int64_t first, std::int64_t last, float* outputs,
             Workspace& work) {
  const int size = net.outputs;
  for (std::int64_t start = first; start < last; start += kTile) {
    const int rows = static_cast<int>(std::min<std::int64_t>(kTile, last - start));
    for (int r = 0; r < rows; ++r) {
      read(net, observations, start + r, work.inputs.data() + r * packed.input_row);
    }
    if (net.memory) {
      for (int r = 0; r < rows; ++r) {
        work.alive.data()[r] = memory.starts == nullptr || !memory.starts[start + r];
        std::copy_n(memory.before + (start + r) * net.hidden, net.hidden,
                    work.before.data() + r * packed.hidden_columns);
      }
    }
    encode(net, packed, rows, work);
    decode(net, packed, rows, pass_memory(net, packed, 1, rows, work), work);
    for (int r = 0; r < rows; ++r) {
      std::copy_n(work.outputs.data() + r * packed.output_row, size, outputs + (start + r) * size);
      if (net.memory) {
        std::copy_n(work.memory.data() + r * packed.hidden_columns, net.hidden,
                    memory.after + (start + r) * net.hidden);
      }
    }
  }
}

// One row of the loss: from outputs to their gradients, see puffer.train.ppo.ppo_loss.
struct Row {
  const Network& net;
  const Minibatch& batch;
  const Coefficients& coefficients;
  std::int64_t at;     // of the transition in (horizon, num_agents)
  std::int64_t place;  // of it in the minibatch
  float weight;

  void learn(float* out, float* back, Gradients& sums) const {
    float log_prob = 0, entropy = 0;
    categories(out, back, log_prob, entropy);
    const int first_number = net.outputs - 1 - net.numbers;
    numbers(out + first_number, log_prob, entropy);

    const float log_ratio = log_prob - batch.log_probs[at];
    const float ratio = std::exp(log_ratio);
    const float advantage = batch.scaled[place];
    const float low = 1 - coefficients.clip, high = 1 + coefficients.clip;
    const float clipped = std::min(std::max(ratio, low), high);
    const float kept = ratio * advantage, bounded = clipped * advantage;
    const float slope = kept <= bounded ? -weight * kept : 0;  // of the log-probability

    const float old_value = batch.values[at];
    const float value = out[net.outputs - 1];
    const float target = batch.advantages[place] + old_value;
    float error = value - target, square = error * error;
    float value_slope = coefficients.value * weight * error;
    if (coefficients.value_clip >= 0) {
      const float move = value - old_value, most = coefficients.value_clip;
      error = old_value + std::min(std::max(move, -most), most) - target;
      if (error * error > square) {
        square = error * error;
        if (std::abs(move) > most) value_slope = 0;
      }
    }
    back[net.outputs - 1] = value_slope;
    const float bonus = coefficients.entropy * weight;
    categories_back(out, back, slope, bonus);
    numbers_back(out + first_number, back + first_number, slope, bonus, sums.log_std);
    if (batch.ratios != nullptr) batch.ratios[at] = ratio;
    const double w = weight;
    sums.parts[0] -= w * std::min(kept, bounded);
    sums.parts[1] += w * 0.5 * square;
    sums.parts[2] += w * entropy;
    sums.parts[3] += w * (ratio - 1 - log_ratio);
    sums.parts[4] += ratio != clipped ? w : 0;
  }

 private:
  // Turns logits into log-probabilities, and writes the probabilities.
  void categories(float* out, float* probabilities, float& log_prob, float& entropy) const {
    const auto components = static_cast<std::int64_t>(net.categories.size());
    const int all = net.outputs - 1;
    const bool* allowed = batch.masks == nullptr ? nullptr : batch.masks + at * all;
    for (std::int64_t c = 0; c < components; ++c) {
      const int size = net.categories[static_cast<std::size_t>(c)];
      if (allowed != nullptr) {
        for (int i = 0; i < size; ++i) out[i] = allowed[i] ? out[i] : kForbidden;
        allowed += size;
      }
      float top = out[0];
      for (int i = 1; i < size; ++i) top = std::max(top, out[i]);
      float sum = 0;
      for (int i = 0; i < size; ++i) sum += probabilities[i] = std::exp(out[i] - top);
      const float norm = top + std::log(sum), share = 1 / sum;
      for (int i = 0; i < size; ++i) {
        out[i] -= norm;
        probabilities[i] *= share;
        entropy -= probabilities[i] * out[i];
      }
      log_prob += out[batch.actions[at * components + c]];
      out += size;
      probabilities += size;
    }
  }

  // `back` holds the probabilities, and then the gradients of the logits.
  void categories_back(const float* out, float* back, float slope, float bonus) const {
    const auto components = static_cast<std::int64_t>(net.categories.size());
    const int all = net.outputs - 1;
    const bool* allowed = batch.masks == nullptr ? nullptr : batch.masks + at * all;
    for (std::int64_t c = 0; c < components; ++c) {
      const int size = net.categories[static_cast<std::size_t>(c)];
      float entropy = 0;
      for (int i = 0; i < size; ++i) entropy -= back[i] * out[i];
      for (int i = 0; i < size; ++i) back[i] *= bonus * (out[i] + entropy) - slope;
      back[batch.actions[at * components + c]] += slope;
      if (allowed != nullptr) {
        for (int i = 0; i < size; ++i) back[i] = allowed[i] ? back[i] : 0;
        allowed += size;
      }
      out += size;
      back += size;
    }
  }

  void numbers(const float* mean, float& log_prob, float& entropy) const {
    const float* action = batch.numbers + at * net.numbers;
    for (int i = 0; i < net.numbers; ++i) {
      const float z = (action[i] - mean[i]) * std::exp(-net.log_std[i]);
      log_prob -= 0.5f * z * z + net.log_std[i] + kHalfLogTwoPi;
      entropy += 0.5f + kHalfLogTwoPi + net.log_std[i];
    }
  }

  void numbers_back(const float* mean, float* back, float slope, float bonus,
                    std::vector<float>& log_std_sums) const {
    const float* action = batch.numbers + at * net.numbers;
    for (int i = 0; i < net.numbers; ++i) {
      const float precision = std::exp(-net.log_std[i]);
      const float z = (action[i] - mean[i]) * precision;
      back[i] = slope * z * precision;
      log_std_sums[static_cast<std::size_t>(i)] += slope * (z * z - 1) - bonus;
    }
  }
};

// Sums over so many rows at a time: more would push each other out of the first cache.
constexpr int kDeep = 256;

// Adds the products of `back` (rows, units), transposed, and `inputs`.
void add_weights(int units, int rows, const float* back, int back_row, const float* inputs,
                 int input_row, float* sums) {
  for (int start = 0; start < rows; start += kDeep) {
    product<true>(units, input_row, std::min(kDeep, rows - start),
                  {back + std::int64_t{start} * back_row, 1, back_row},
                  inputs + std::int64_t{start} * input_row, input_row, sums, input_row);
  }
}

// Adds the gradients of the rows whose `places` in the minibatch the workspace has: `steps` times
// `agents` of them, time first; without memory one step of all.
void learn(const Network& net, const Packed& packed, const Minibatch& batch,
           const Coefficients& coefficients, int steps, int agents, Gradients& sums,
           Workspace& work) {
  const int rows = steps * agents, columns = packed.hidden_columns;
  const float equal = 1.0f / static_cast<float>(batch.horizon * batch.size);
  const auto transition = [&](int row) {
    const std::int64_t place = work.places.data()[row];
    return place / batch.size * batch.num_agents + batch.agents[place % batch.size];
  };
  for (int r = 0; r < rows; ++r) {
    if (r + kAhead < rows) prefetch(net, batch.observations, transition(r + kAhead));
    const std::int64_t at = transition(r);
    read(net, batch.observations, at, work.inputs.data() + std::int64_t{r} * packed.input_row);
    if (net.memory) work.alive.data()[r] = !batch.starts[at];
  }
  if (net.memory) {
    for (int i = 0; i < agents; ++i) {
      const std::int64_t agent = batch.agents[work.places.data()[i]];
      std::copy_n(batch.state + agent * net.hidden, net.hidden, work.before.data() + i * columns);
    }
  }
  encode(net, packed, rows, work);
  const float* top = pass_memory(net, packed, steps, agents, work);
  decode(net, packed, rows, top, work);
  for (int r = 0; r < rows; ++r) {
    const std::int64_t place = work.places.data()[r];
    const float weight = batch.weights == nullptr ? equal : batch.weights[place];
    Row{net, batch, coefficients, transition(r), place, weight}.learn(
        work.outputs.data() + r * packed.output_row,
        work.outputs_back.data() + r * packed.output_row, sums);
  }
  add_weights(net.outputs, rows, work.outputs_back.data(), packed.output_row, top,
              packed.hidden_row, sums.heads.data());
  product<false>(rows, columns, net.outputs, {work.outputs_back.data(), packed.output_row, 1},
                 packed.heads_back.data(), columns, work.hidden_back.data(), columns);
  if (net.memory) {
    const int units = kGates * columns;
    remember_back(packed, steps, agents, work);
    add_weights(units, rows, work.gates_back.data(), units, work.hidden.data(), packed.hidden_row,
                sums.cell.data());
    product<true>(rows, columns, units, {work.gates_back.data(), units, 1}, packed.cell_back.data(),
                  columns, work.hidden_back.data(), columns);
  }
  for (int r = 0; r < rows; ++r) {
    const float* h = work.hidden.data() + std::int64_t{r} * packed.hidden_row;
    float* back = work.hidden_back.data() + std::int64_t{r} * columns;
    for (int j = 0; j < net.hidden; ++j) back[j] = h[j] > 0 ? back[j] : 0;
  }
  add_weights(net.hidden, rows, work.hidden_back.data(), columns, work.inputs.data(),
              packed.input_row, sums.first.data());
}

void gradients(const Network& net, const Packed& packed, const Minibatch& batch,
               const Coefficients& coefficients, std::int64_t first, std::int64_t last,
               Gradients& sums, Workspace& work) {
  const int steps = net.memory ? static_cast<int>(batch.horizon) : 1;
  const int most = net.memory ? batch.segments_of_tile : kTile;
  for (std::int64_t start = first; start < last; start += most) {
    const int agents = static_cast<int>(std::min<std::int64_t>(most, last - start));
    for (int t = 0, r = 0; t < steps; ++t) {
      for (int i = 0; i < agents; ++i, ++r) work.places.data()[r] = t * batch.size + start + i;
    }
    learn(net, packed, batch, coefficients, steps, agents, sums, work);
  }
}

void multiply(int rows, int columns, int depth, const float* a, int a_row, const float* b,
              float* c) {
  product<false>(rows, columns, depth, {a, a_row, 1}, b, columns, c, columns);
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels{PUFFER_LEVEL_NAME, kLanes, pack, forward, gradients,
                       multiply};

}  // namespace puffer::train::PUFFER_LEVEL
