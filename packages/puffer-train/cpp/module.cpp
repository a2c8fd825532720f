// puffer.train._native: the update of a perceptron, for puffer.train.perceptron.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "muon.hpp"
#include "perceptron.hpp"
#include "threads.hpp"

namespace py = pybind11;

namespace puffer::train {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;
template <class T>
using Maybe = std::optional<Array<T>>;
using Arrays = std::vector<Array<float>>;

constexpr double kPartWork = 4e6;  // multiplications, some 100 microseconds
constexpr std::int64_t kMostParts = 8;

template <class T>
const T* pointer(const Array<T>& array, std::int64_t size, const char* name) {
  if (array.size() != size) {
    throw std::invalid_argument(std::string(name) + ": " + std::to_string(array.size()) +
                                " numbers, expected " + std::to_string(size));
  }
  return array.data();
}

template <class T>
const T* pointer(const Maybe<T>& array, std::int64_t size, const char* name) {
  return array ? pointer(*array, size, name) : nullptr;
}

float* mutable_pointer(const Array<float>& array, std::int64_t size, const char* name) {
  return const_cast<float*>(pointer(array, size, name));
}

Kind kind_of(const py::array& array) {
  if (array.dtype().is(py::dtype::of<float>())) return Kind::kFloat32;
  if (array.dtype().is(py::dtype::of<std::uint8_t>())) return Kind::kUint8;
  if (array.dtype().is(py::dtype::of<std::int8_t>())) return Kind::kInt8;
  if (array.dtype().is(py::dtype::of<std::int16_t>())) return Kind::kInt16;
  if (array.dtype().is(py::dtype::of<std::int32_t>())) return Kind::kInt32;
  if (array.dtype().is(py::dtype::of<double>())) return Kind::kFloat64;
  if (array.dtype().kind() == 'f' && array.itemsize() == 2) return Kind::kFloat16;
  throw std::invalid_argument("observations: unknown dtype");
}

// Owns no weights: each call is given the arrays that hold them now, in the order first, candidate
// and gates of a MinGRU, heads, value, log_std, each layer's weight before its bias.
class Perceptron {
 public:
  Perceptron(int inputs, int hidden, std::vector<int> categories, int numbers, bool memory,
             float scale, std::shared_ptr<Threads> threads)
      : kernels_(kernels()), net_(describe(inputs, hidden, std::move(categories), numbers, memory)),
        packed_(net_, kernels_.lanes), threads_(std::move(threads)),
        workspaces_(static_cast<std::size_t>(threads_->size())) {
    observations_.scale = scale;
    for (auto& workspace : workspaces_) workspace.fit(net_, packed_, kTile);
  }

  // Outputs of the batch `observations`: the logits of all components, means, the value; and what
  // is remembered after them, (rows, hidden), or no numbers without memory.
  std::pair<Array<float>, Array<float>> forward(
      const Arrays& weights, const py::array& observations,
      const Maybe<float>& mean, const Maybe<float>& deviation, float clip,
      const Maybe<float>& state, const Maybe<bool>& starts) {
    const std::int64_t rows = observations.shape(0), width = net_.memory ? net_.hidden : 0;
    Array<float> outputs({rows, std::int64_t{net_.outputs}}), after({rows, width});
    load(weights);
    look(observations, rows, mean, deviation, clip);
    float* to = outputs.mutable_data();
    const Memory memory{remembered(state, rows), pointer(starts, rows, "starts"),
                        after.mutable_data()};
    {
      const py::gil_scoped_release unlocked;
      const std::int64_t tiles = (rows + kTile - 1) / kTile;
      const int parts = parts_of(tiles, rows, 1);
      threads_->run(parts, [&](int part, int thread) {
        const auto [first, last] = share(part, parts, tiles, kTile, rows);
        kernels_.forward(net_, packed_, observations_, memory, first, last, to, workspace(thread));
      });
    }
    return {outputs, after};
  }

  // Writes the loss's gradients into `gradients`, as `weights` are ordered, and returns its parts.
  std::vector<double> gradients(
      const Arrays& weights, const Arrays& gradients,
      const py::array& observations, const Maybe<float>& mean, const Maybe<float>& deviation,
      float clip, const Array<std::int64_t>& agents, const Maybe<std::int32_t>& actions,
      const Maybe<float>& numbers, const Maybe<bool>& masks, const Array<float>& log_probs,
      const Array<float>& values, const Maybe<float>& ratios, const Array<float>& advantages,
      const Array<float>& scaled, const Maybe<float>& row_weights, const Maybe<float>& state,
      const Maybe<bool>& starts, Coefficients coefficients) {
    Minibatch batch;
    batch.horizon = values.shape(0);
    batch.num_agents = values.shape(1);
    batch.size = agents.size();
    const std::int64_t all = values.size(), rows = batch.horizon * batch.size;
    const auto components = static_cast<std::int64_t>(net_.categories.size());
    batch.agents = agents.data();
    batch.actions = pointer(actions, all * components, "actions");
    batch.numbers = pointer(numbers, all * net_.numbers, "actions");
    batch.masks = pointer(masks, all * (net_.outputs - 1), "action_masks");
    batch.log_probs = pointer(log_probs, all, "log_probs");
    batch.values = values.data();
    batch.ratios = const_cast<float*>(pointer(ratios, all, "ratios"));
    batch.advantages = pointer(advantages, rows, "advantages");
    batch.scaled = pointer(scaled, rows, "scaled");
    batch.weights = pointer(row_weights, rows, "weights");
    batch.state = remembered(state, batch.num_agents);
    batch.starts = pointer(starts, all, "starts");
    if (net_.memory && batch.starts == nullptr) throw std::invalid_argument("starts are missing");
    batch.segments_of_tile =
        static_cast<int>(std::max<std::int64_t>(1, kMemoryTile / std::max<std::int64_t>(1, batch.horizon)));
    if ((components && !batch.actions) || (net_.numbers && !batch.numbers)) {
      throw std::invalid_argument("actions are missing");
    }
    load(weights);
    look(observations, all, mean, deviation, clip);
    batch.observations = observations_;
    const auto targets = places(gradients);

    const py::gil_scoped_release unlocked;
    check(batch);
    // Rows and tiles of them, or with memory segments.
    const std::int64_t items = net_.memory ? batch.size : rows;
    const int tile = net_.memory ? batch.segments_of_tile : kTile;
    const std::int64_t tiles = (items + tile - 1) / tile;
    const int parts = parts_of(tiles, rows, 3);
    sums_.resize(static_cast<std::size_t>(parts));
    if (net_.memory) {
      for (auto& workspace : workspaces_) workspace.fit(net_, packed_, tile * batch.horizon);
    }
    threads_->run(parts, [&](int part, int thread) {
      const auto [first, last] = share(part, parts, tiles, tile, items);
      Gradients& sums = sums_[static_cast<std::size_t>(part)];
      sums.clear(net_, packed_);
      kernels_.gradients(net_, packed_, batch, coefficients, first, last, sums,
                         workspace(thread));
    });
    add_up(targets);
    return {sums_[0].parts.begin(), sums_[0].parts.end()};
  }

  std::string level() const { return std::string(kernels_.level); }

 private:
  struct Place {
    float *weight, *bias;
    int outputs, inputs;
  };

  static Network describe(int inputs, int hidden, std::vector<int> categories, int numbers,
                          bool memory) {
    Network net;
    net.memory = memory;
    net.inputs = inputs;
    net.hidden = hidden;
    net.numbers = numbers;
    net.outputs = numbers + 1;
    for (const int size : categories) net.outputs += size;
    net.categories = std::move(categories);
    return net;
  }

  Workspace& workspace(int thread) { return workspaces_[static_cast<std::size_t>(thread)]; }

  // Into how many parts `passes` of `rows` through the network are divided: by the work alone,
  // since the sums of gradients depend on it.
  int parts_of(std::int64_t tiles, std::int64_t rows, int passes) const {
    const int cell = net_.memory ? kGates * net_.hidden : 0;
    const double work = 1.0 * static_cast<double>(rows) * passes * net_.hidden *
                        (net_.inputs + cell + net_.outputs);
    return static_cast<int>(std::clamp(static_cast<std::int64_t>(work / kPartWork), std::int64_t{1},
                                       std::min(tiles, kMostParts)));
  }

  static std::pair<std::int64_t, std::int64_t> share(int part, int parts, std::int64_t tiles,
                                                     int tile, std::int64_t items) {
    const std::int64_t first = tiles * part / parts * tile;
    return {first, std::min(tiles * (part + 1) / parts * tile, items)};
  }

  // What the agents of `rows` remember; null without memory.
  const float* remembered(const Maybe<float>& state, std::int64_t rows) const {
    if (net_.memory && !state) throw std::invalid_argument("the state is missing");
    return net_.memory ? pointer(state, rows * net_.hidden, "state") : nullptr;
  }

  // The arrays of `given`, layer by layer; the sizes of all are those of the network.
  std::vector<Place> places(const Arrays& given) const {
    std::vector<int> outputs{net_.hidden};
    if (net_.memory) outputs.insert(outputs.end(), {net_.hidden, (kGates - 1) * net_.hidden});
    outputs.insert(outputs.end(), net_.categories.begin(), net_.categories.end());
    if (net_.numbers) outputs.push_back(net_.numbers);
    outputs.push_back(1);
    if (given.size() != 2 * outputs.size() + (net_.numbers ? 1 : 0)) {
      throw std::invalid_argument("weights: other layers than the network's");
    }
    std::vector<Place> places;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const int inputs = i == 0 ? net_.inputs : net_.hidden;
      const auto size = std::int64_t{inputs} * outputs[i];
      places.push_back({mutable_pointer(given[2 * i], size, "weight"),
                        mutable_pointer(given[2 * i + 1], outputs[i], "bias"),
                        outputs[i], inputs});
    }
    if (net_.numbers) {
      float* log_std = mutable_pointer(given.back(), net_.numbers, "log_std");
      places.push_back({log_std, nullptr, net_.numbers, 1});
    }
    return places;
  }

  void load(const Arrays& weights) {
    auto layers = places(weights);
    if (net_.numbers) {
      net_.log_std = layers.back().weight;
      layers.pop_back();
    }
    net_.heads.clear();
    for (const Place& place : layers) net_.heads.push_back({place.weight, place.bias, place.outputs});
    net_.first = net_.heads[0];
    if (net_.memory) {
      net_.candidate = net_.heads[1];
      net_.gates = net_.heads[2];
    }
    net_.heads.erase(net_.heads.begin(), net_.heads.begin() + (net_.memory ? 3 : 1));
    kernels_.pack(net_, packed_);
  }

  void look(const py::array& observations, std::int64_t rows, const Maybe<float>& mean,
            const Maybe<float>& deviation, float clip) {
    if (!(observations.flags() & py::array::c_style) ||
        observations.size() != rows * net_.inputs) {
      throw std::invalid_argument("observations: expected rows of " + std::to_string(net_.inputs) +
                                  " numbers, one after another");
    }
    observations_.data = observations.data();
    observations_.kind = kind_of(observations);
    observations_.bytes = static_cast<int>(observations.itemsize());
    observations_.mean = pointer(mean, net_.inputs, "mean");
    observations_.deviation = pointer(deviation, net_.inputs, "deviation");
    observations_.clip = clip;
  }

  // What would be read outside the arrays.
  void check(const Minibatch& batch) const {
    for (std::int64_t i = 0; i < batch.size; ++i) {
      if (batch.agents[i] < 0 || batch.agents[i] >= batch.num_agents) {
        throw std::out_of_range("agents: " + std::to_string(batch.agents[i]) + " of " +
                                std::to_string(batch.num_agents));
      }
    }
    const std::size_t components = net_.categories.size();
    for (std::int64_t t = 0; t < batch.horizon; ++t) {
      for (std::int64_t i = 0; i < batch.size; ++i) {
        const auto at = static_cast<std::size_t>(t * batch.num_agents + batch.agents[i]);
        for (std::size_t c = 0; c < components; ++c) {
          const std::int32_t action = batch.actions[at * components + c];
          if (action < 0 || action >= net_.categories[c]) {
            throw std::out_of_range("actions: " + std::to_string(action) + " of " +
                                    std::to_string(net_.categories[c]));
          }
        }
      }
    }
  }

  // The sums of all parts, in order, into the first and from there to the caller's arrays.
  void add_up(const std::vector<Place>& targets) {
    Gradients& all = sums_[0];
    const auto add = [](auto& to, const auto& more) {
      std::transform(to.begin(), to.end(), more.begin(), to.begin(), std::plus<>());
    };
    for (std::size_t part = 1; part < sums_.size(); ++part) {
      add(all.first, sums_[part].first);
      add(all.cell, sums_[part].cell);
      add(all.heads, sums_[part].heads);
      add(all.log_std, sums_[part].log_std);
      add(all.parts, sums_[part].parts);
    }
    const auto hand_out = [](const float* rows, int row, const Place& to) {
      for (int i = 0; i < to.outputs; ++i, rows += row) {
        std::copy_n(rows, to.inputs, to.weight + std::int64_t{i} * to.inputs);
        to.bias[i] = rows[to.inputs];
      }
    };
    hand_out(all.first.data(), packed_.input_row, targets.front());
    std::size_t head = 1;
    if (net_.memory) {
      const std::int64_t unit = packed_.hidden_row, gate = unit * packed_.hidden_columns;
      const Place &candidate = targets[1], &gates = targets[2];
      hand_out(all.cell.data(), packed_.hidden_row, candidate);
      for (int i = 0; i < kGates - 1; ++i) {
        const std::int64_t first = std::int64_t{i} * net_.hidden;
        hand_out(all.cell.data() + (i + 1) * gate, packed_.hidden_row,
                 {gates.weight + first * net_.hidden, gates.bias + first, net_.hidden, net_.hidden});
      }
      head = 3;
    }
    const float* rows = all.heads.data();
    for (std::size_t i = head; i < targets.size() - (net_.numbers ? 1 : 0); ++i) {
      hand_out(rows, packed_.hidden_row, targets[i]);
      rows += std::int64_t{targets[i].outputs} * packed_.hidden_row;
    }
    if (net_.numbers) std::copy(all.log_std.begin(), all.log_std.end(), targets.back().weight);
  }

  const Kernels& kernels_;
  Network net_;
  Packed packed_;
  Observations observations_;
  std::shared_ptr<Threads> threads_;
  std::vector<Workspace> workspaces_;
  std::vector<Gradients> sums_;
};

// Scales all arrays down to a common norm of `most`; returns the norm before.
double clip_norm(const Arrays& arrays, double most) {
  double squares = 0;
  for (const auto& array : arrays) {
    const float* x = array.data();
    squares = std::accumulate(x, x + array.size(), squares,
                              [](double sum, float v) { return sum + static_cast<double>(v) * v; });
  }
  const double norm = std::sqrt(squares);
  const auto scale = static_cast<float>(most / (norm + 1e-6));  // as torch has it
  if (scale < 1) {
    for (const auto& array : arrays) {
      float* x = const_cast<float*>(array.data());
      std::transform(x, x + array.size(), x, [scale](float v) { return v * scale; });
    }
  }
  return norm;
}

// A step of Adam, the `count`-th of these arrays (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1).
void adam_step(const Arrays& weights, const Arrays& gradients, const Arrays& means,
               const Arrays& squares, double count, double rate, double mean_decay,
               double square_decay, double epsilon) {
  const auto step = static_cast<float>(rate / (1 - std::pow(mean_decay, count)));
  const auto scale = static_cast<float>(1 / std::sqrt(1 - std::pow(square_decay, count)));
  // Rounded when they are small: 1 - 0.999f is wrong in the fifth digit.
  const auto fresh = static_cast<float>(1 - mean_decay);
  const auto fresh_square = static_cast<float>(1 - square_decay);
  const auto least = static_cast<float>(epsilon);
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const py::ssize_t size = weights[k].size();
    float* const weight = mutable_pointer(weights[k], size, "weights");
    const float* const gradient = pointer(gradients.at(k), size, "gradients");
    float* const mean = mutable_pointer(means.at(k), size, "means");
    float* const square = mutable_pointer(squares.at(k), size, "squares");
    for (py::ssize_t i = 0; i < size; ++i) {
      mean[i] += fresh * (gradient[i] - mean[i]);
      square[i] += fresh_square * (gradient[i] * gradient[i] - square[i]);
      weight[i] -= step * mean[i] / (std::sqrt(square[i]) * scale + least);
    }
  }
}

// Muon for the caller's arrays.
class MuonOfArrays {
 public:
  explicit MuonOfArrays(std::shared_ptr<Threads> threads)
      : threads_(std::move(threads)), muon_(kernels(), *threads_) {}

  void step(const Arrays& weights, const Arrays& gradients, const Arrays& momenta, float rate,
            float decay) {
    std::vector<Matrix> matrices;
    for (std::size_t k = 0; k < weights.size(); ++k) {
      const auto& weight = weights[k];
      if (weight.ndim() != 2) throw std::invalid_argument("weights: expected matrices");
      matrices.push_back({static_cast<int>(weight.shape(0)), static_cast<int>(weight.shape(1)),
                          mutable_pointer(weight, weight.size(), "weights"),
                          pointer(gradients.at(k), weight.size(), "gradients"),
                          mutable_pointer(momenta.at(k), weight.size(), "momenta")});
    }
    const py::gil_scoped_release unlocked;
    for (const Matrix& matrix : matrices) muon_.step(matrix, rate, decay);
  }

 private:
  std::shared_ptr<Threads> threads_;
  Muon muon_;
};

}  // namespace

PYBIND11_MODULE(_native, module) {
  py::class_<Coefficients>(module, "Coefficients")
      .def(py::init([](float clip, float value, float entropy, std::optional<float> value_clip) {
             return Coefficients{clip, value, entropy, value_clip.value_or(-1.0f)};
           }),
           py::arg("clip"), py::arg("value"), py::arg("entropy"), py::arg("value_clip"));
  module.def("adam_step", &adam_step, py::arg("weights").noconvert(),
             py::arg("gradients").noconvert(), py::arg("means").noconvert(),
             py::arg("squares").noconvert(), py::arg("count"), py::arg("rate"),
             py::arg("mean_decay"), py::arg("square_decay"), py::arg("epsilon"));
  module.def("clip_norm", &clip_norm, py::arg("arrays").noconvert(), py::arg("most"));
  py::class_<Threads, std::shared_ptr<Threads>>(module, "Threads")
      .def(py::init<int>(), py::arg("size"))
      .def_property_readonly("size", &Threads::size);
  py::class_<MuonOfArrays>(module, "Muon")
      .def(py::init<std::shared_ptr<Threads>>(), py::arg("threads"))
      .def("step", &MuonOfArrays::step, py::arg("weights").noconvert(),
           py::arg("gradients").noconvert(), py::arg("momenta").noconvert(), py::arg("rate"),
           py::arg("decay"));
  py::class_<Perceptron>(module, "Perceptron")
      .def(py::init<int, int, std::vector<int>, int, bool, float, std::shared_ptr<Threads>>(),
           py::arg("inputs"), py::arg("hidden"), py::arg("categories"), py::arg("numbers"),
           py::arg("memory"), py::arg("scale"),
           py::arg("threads"))
      .def_property_readonly("level", &Perceptron::level)
      .def("forward", &Perceptron::forward, py::arg("weights"), py::arg("observations"),
           py::arg("mean"), py::arg("deviation"), py::arg("clip"), py::arg("state"),
           py::arg("starts"))
      .def("gradients", &Perceptron::gradients, py::arg("weights"), py::arg("gradients").noconvert(),
           py::arg("observations"), py::arg("mean"), py::arg("deviation"), py::arg("clip"),
           py::arg("agents"), py::arg("actions"), py::arg("numbers"), py::arg("masks"),
           py::arg("log_probs"), py::arg("values"), py::arg("ratios").noconvert(), py::arg("advantages"),
           py::arg("scaled"), py::arg("weights_of_rows"), py::arg("state"), py::arg("starts"),
           py::arg("coefficients"));
  module.attr("PART_NAMES") = std::vector<std::string>(kPartNames.begin(), kPartNames.end());
}

}  // namespace puffer::train
