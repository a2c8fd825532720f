// Which of the compiled instruction sets this machine has, and memory for what they work with.
#include <cstdlib>
#include <string_view>

#include "perceptron.hpp"

namespace puffer::train {
namespace {

std::size_t area(int rows, int columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
}

}  // namespace

Packed::Packed(const Network& net, int lanes) {
  const auto padded = [lanes](int size) { return (size + lanes - 1) / lanes * lanes; };
  input_row = padded(net.inputs + 1);
  hidden_row = padded(net.hidden + 1);
  hidden_columns = padded(net.hidden);
  output_row = padded(net.outputs);
  first.resize(area(net.inputs + 1, hidden_columns));
  if (net.memory) {
    cell.resize(area(net.hidden + 1, kGates * hidden_columns));
    cell_back.resize(area(kGates * hidden_columns, hidden_columns));
  }
  heads.resize(area(net.hidden + 1, output_row));
  heads_back.resize(area(net.outputs, hidden_columns));
}

void Gradients::clear(const Network& net, const Packed& packed) {
  first.assign(area(net.hidden, packed.input_row), 0);
  if (net.memory) cell.assign(area(kGates * packed.hidden_columns, packed.hidden_row), 0);
  heads.assign(area(net.outputs, packed.hidden_row), 0);
  log_std.assign(static_cast<std::size_t>(net.numbers), 0);
  parts = {};
}

void Workspace::fit(const Network& net, const Packed& packed, std::int64_t rows) {
  const auto grow = [rows](auto& array, int row) {
    const auto size = static_cast<std::size_t>(rows * row);
    if (array.size() < size) array.resize(size);
  };
  grow(places, 1);
  grow(inputs, packed.input_row);
  grow(hidden, packed.hidden_row);
  grow(hidden_back, packed.hidden_columns);
  grow(outputs, packed.output_row);
  grow(outputs_back, packed.output_row);
  if (!net.memory) return;
  grow(gates, kGates * packed.hidden_columns);
  grow(gates_back, kGates * packed.hidden_columns);
  grow(memory, packed.hidden_columns);
  grow(before, packed.hidden_columns);
  grow(flow, packed.hidden_columns);
  grow(alive, 1);
  grow(top, packed.hidden_row);
}

namespace baseline {
extern const Kernels kKernels;
}
#if PUFFER_X86_LEVELS
namespace v3 {
extern const Kernels kKernels;
}
namespace v4 {
extern const Kernels kKernels;
}
#endif

const Kernels& kernels() {
#if PUFFER_X86_LEVELS
  __builtin_cpu_init();
  const char* forced = std::getenv("PUFFER_TRAIN_KERNEL");
  const std::string_view most = forced == nullptr ? v4::kKernels.level : forced;
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi2");
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (has_v4 && most == v4::kKernels.level) return v4::kKernels;
  if (has_v3 && most != baseline::kKernels.level) return v3::kKernels;
#endif
  return baseline::kKernels;
}

}  // namespace puffer::train
