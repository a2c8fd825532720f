// What a perceptron with one hidden layer and several heads computes from and into: the arrays of
// the caller, which outlive every call. `h = relu(W x + b)`; each head and the value are linear in h,
// or in what a MinGRU makes of it (mingru.hpp), which remembers from one step to the next.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace puffer::train {

inline constexpr int kTile = 96;     // rows that are worked on at a time, in a core's cache;
inline constexpr int kMemoryTile = 192;  // with memory about so many: whole segments
inline constexpr int kGates = 3;     // of a MinGRU: candidate, forget gate, share in the output

struct Linear {
  const float* weight;  // (outputs, inputs)
  const float* bias;    // (outputs)
  int outputs;
};

struct Network {
  int inputs = 0, hidden = 0;
  bool memory = false;             // a MinGRU of the hidden layer's width
  Linear first{};
  Linear candidate{}, gates{};     // of the MinGRU; `gates` are two, one after the other
  std::vector<Linear> heads;       // of categories, then of the mean of numbers if any, the value
  std::vector<int> categories;     // how many each categorical component has
  int numbers = 0;                 // components of a Normal distribution
  const float* log_std = nullptr;  // (numbers)
  int outputs = 0;                 // of all heads
};

enum class Kind : std::uint8_t { kFloat32, kUint8, kInt8, kInt16, kInt32, kFloat64, kFloat16 };

// `(rows, inputs)`: row r of the batch is found at `rows[r]` if there is such a list.
struct Observations {
  const void* data = nullptr;
  Kind kind = Kind::kFloat32;
  int bytes = 4;                    // of one number
  float scale = 1;                  // all are multiplied by it,
  const float* mean = nullptr;      // or normalized by these, (inputs) each
  const float* deviation = nullptr;
  float clip = 0;
};

// What a network with memory remembers: rows of `hidden` numbers, one for each agent.
struct Memory {
  const float* before = nullptr;
  const bool* starts = nullptr;  // where an episode begins, nothing is remembered; null: nowhere
  float* after = nullptr;        // written
};

// Of n segments `(horizon, n)`, picked by `agents` from arrays `(horizon, num_agents)`.
struct Minibatch {
  Observations observations;
  const std::int64_t* agents = nullptr;  // (n)
  std::int64_t size = 0, num_agents = 0, horizon = 0;
  const std::int32_t* actions = nullptr;  // (horizon, num_agents, components),
  const float* numbers = nullptr;         // or this
  const bool* masks = nullptr;            // (horizon, num_agents, sum of categories)
  const float* log_probs = nullptr;       // (horizon, num_agents), as all to `values`
  const float* values = nullptr;
  float* ratios = nullptr;                // written, if not null
  const float* advantages = nullptr;      // (horizon, n): value targets are these plus the values
  const float* scaled = nullptr;          // (horizon, n): what the policy learns from
  int segments_of_tile = 1;               // with memory, how many are worked on at a time
  const float* state = nullptr;           // (num_agents, hidden), before the first transition
  const bool* starts = nullptr;           // (horizon, num_agents)
  const float* weights = nullptr;         // (horizon, n), of the terms of each mean; null: equal
};

struct Coefficients {
  float clip = 0, value = 0, entropy = 0;
  float value_clip = -1;  // negative: none
};

// Sums over rows, in the order of `kPartNames`.
inline constexpr std::array<std::string_view, 5> kPartNames{
    "policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction"};
using Parts = std::array<double, kPartNames.size()>;

// The weights as the products want them, and the place of everything in what a part works with.
// A column of ones behind the inputs and the hidden layer makes biases rows of the weights.
// Rows are whole vector registers.
struct Packed {
  Packed(const Network& net, int lanes);

  int input_row, hidden_row, hidden_columns, output_row;
  std::vector<float> first;       // (inputs + 1, hidden_columns)
  std::vector<float> cell;        // (hidden + 1, kGates * hidden_columns)
  std::vector<float> cell_back;   // (kGates * hidden_columns, hidden_columns)
  std::vector<float> heads;       // (hidden + 1, output_row)
  std::vector<float> heads_back;  // (outputs, hidden_columns)
};

// One part's gradients; each has the bias in the column behind the weights.
struct Gradients {
  void clear(const Network& net, const Packed& packed);

  std::vector<float> first;    // (hidden, input_row)
  std::vector<float> cell;     // (kGates * hidden_columns, hidden_row)
  std::vector<float> heads;    // (outputs, hidden_row)
  std::vector<float> log_std;  // (numbers)
  Parts parts{};
};

// A tile of rows on its way forward and back.
struct Workspace {
  void fit(const Network& net, const Packed& packed, std::int64_t rows);

  std::vector<std::int64_t> places;  // in the minibatch, of each row
  std::vector<float> inputs, hidden, hidden_back, outputs, outputs_back;
  std::vector<float> gates, gates_back;  // (rows, kGates * hidden_columns)
  std::vector<float> memory;             // (rows, hidden_columns)
  std::vector<float> before, flow;       // the same, of as many rows as there are agents
  std::vector<float> alive;              // (rows): 0 where an episode starts, else 1
  std::vector<float> top;                // (rows, hidden_row), what the heads read
};

// The same functions, compiled for one instruction set: loops over arrays and nothing that the
// linker could take for the same function of another instruction set, as a vector's `resize`.
struct Kernels {
  std::string_view level;
  int lanes;  // floats in a vector register
  void (*pack)(const Network&, Packed&);
  // Writes the outputs (rows, outputs) of rows [first, last) of the observations.
  void (*forward)(const Network&, const Packed&, const Observations&, const Memory&,
                  std::int64_t first, std::int64_t last, float* outputs, Workspace&);
  // Adds the gradients of the loss of rows [first, last) of the minibatch's horizon * n; with
  // memory of its segments [first, last).
  void (*gradients)(const Network&, const Packed&, const Minibatch&, const Coefficients&,
                    std::int64_t first, std::int64_t last, Gradients&, Workspace&);
  // c (rows, columns) = a (rows, depth) b (depth, columns), see product.hpp.
  void (*multiply)(int rows, int columns, int depth, const float* a, int a_row, const float* b,
                   float* c);
};

// The kernels for this machine.
const Kernels& kernels();

}  // namespace puffer::train
