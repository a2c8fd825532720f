// Compiled once into each extension that puffer_add_envs() makes. The only file that knows Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <numeric>

#include "puffer/ocean/registry.hpp"
#include "puffer/ocean/version.hpp"

namespace py = pybind11;
using namespace py::literals;
using namespace puffer::ocean;

#define PUFFER_DECLARE(name) EnvEntry puffer_env_##name();
#define PUFFER_LIST(name) puffer_env_##name(),
#include "puffer_envs.inc"
PUFFER_ENVS(PUFFER_DECLARE)

namespace {

const std::vector<EnvEntry>& entries() {
  static const std::vector<EnvEntry> all{PUFFER_ENVS(PUFFER_LIST)};
  return all;
}

const EnvEntry& find(const std::string& name) {
  std::string names;
  for (const auto& entry : entries()) {
    if (entry.name == name) return entry;
    names += " " + entry.name;
  }
  throw UsageError("no environment '" + name + "' in this extension: it has" + names);
}

std::string text(const py::handle& object) { return py::str(object); }

// Returns the memory of `array` if it is the buffer that is expected of it.
void* checked(const py::array& array, const std::string& name, const py::dtype& dtype,
              const std::vector<py::ssize_t>& shape) {
  const py::tuple want = py::tuple(py::cast(shape));
  if (!array.dtype().equal(dtype) || !py::tuple(array.attr("shape")).equal(want)) {
    throw UsageError("buffer " + name + " is " + text(array.dtype()) + text(array.attr("shape")) +
                     ", expected " + text(dtype) + text(want));
  }
  if ((array.flags() & py::array::c_style) == 0 || !array.writeable()) {
    throw UsageError("buffer " + name +
                     " is not writeable C-contiguous memory: pass an array "
                     "that owns its rows, or a slice of rows of one");
  }
  return const_cast<void*>(array.data());
}

// True if each of `size` values, `step` apart, is one of 0 to `choices` - 1.
template <class T>
bool all_below(const T* values, std::size_t size, std::size_t step, std::int64_t choices) {
  using Wide = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  const auto limit = static_cast<Wide>(choices);
  Wide outside = 0;  // a negative number is a huge Wide one
  for (std::size_t i = 0; i < size; i += step) outside |= static_cast<Wide>(values[i]) >= limit;
  return outside == 0;
}

// Copies `given` to `out` if each value is a choice of its component, else leaves `out` alone.
template <class T>
bool take_discrete(const T* given, std::int32_t* out, std::size_t rows,
                   const std::vector<std::int64_t>& nvec) {
  const std::size_t size = rows * nvec.size();
  if (nvec.size() == 1) {  // a loop without strides, for the compiler's sake
    if (!all_below(given, size, 1, nvec[0])) return false;
  } else {
    for (std::size_t c = 0; c < nvec.size(); ++c) {
      if (!all_below(given + c, size - c, nvec.size(), nvec[c])) return false;
    }
  }
  if (static_cast<const void*>(given) == out) return true;
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::int32_t>(given[i]);
  return true;
}

bool take_box(const float* given, float* out, std::size_t size, const ActionSpec& action) {
  bool inside = true;  // written so that NaN fails
  for (std::size_t i = 0; i < size; ++i)
    inside &= given[i] >= action.low && given[i] <= action.high;
  if (inside && given != out) std::memcpy(out, given, size * sizeof(float));
  return inside;
}

class PyEngine {
 public:
  PyEngine(const std::string& name, int num_envs, int num_threads, int report_interval,
           const Options& options)
      : entry_(find(name)), report_interval_(report_interval) {
    if (report_interval < 0) {
      throw UsageError("report_interval=" + std::to_string(report_interval) +
                       ": expected a number of steps, or 0 for every episode");
    }
    engine_ = entry_.make(options, num_envs, num_threads, report_interval == 0);
  }

  py::dict spec() {
    const Spec& spec = open().spec();
    return py::dict("observation_shape"_a = spec.observation_shape,
                    "observation_dtype"_a = entry_.observation_dtype, "low"_a = spec.low,
                    "high"_a = spec.high, "nvec"_a = spec.action.nvec,
                    "action_size"_a = spec.action.size, "action_low"_a = spec.action.low,
                    "action_high"_a = spec.action.high, "num_agents"_a = spec.num_agents,
                    "max_steps"_a = spec.max_steps, "steps_per_second"_a = spec.steps_per_second);
  }

  void bind(py::array observations, py::array actions, py::array rewards, py::array terminals,
            py::array truncations, py::array masks, std::optional<py::array> final_observations,
            std::optional<py::array> action_masks, py::object action_space) {
    const Spec& spec = open().spec();
    const auto rows = static_cast<py::ssize_t>(engine_->num_rows());
    const std::vector<py::ssize_t> flat{rows};
    std::vector<py::ssize_t> observation{rows};
    for (const std::size_t extent : spec.observation_shape) {
      observation.push_back(static_cast<py::ssize_t>(extent));
    }
    std::vector<py::ssize_t> action{rows};
    if (spec.action.nvec.size() != 1) action.push_back(static_cast<py::ssize_t>(spec.action.size));
    const auto choices = static_cast<py::ssize_t>(
        std::reduce(spec.action.nvec.begin(), spec.action.nvec.end(), std::int64_t{0}));
    if (action_masks && !entry_.masks) {
      throw UsageError("environment " + entry_.name +
                       " has no mask(): do not pass the buffer action_masks");
    }
    const py::dtype obs_dtype(entry_.observation_dtype);
    const py::dtype flag = py::dtype::of<bool>();
    action_data_ = checked(actions, "actions", py::dtype(entry_.action_dtype), action);
    const RawArrays raw{
        .observations = checked(observations, "observations", obs_dtype, observation),
        .actions = action_data_,
        .rewards = static_cast<float*>(checked(rewards, "rewards", py::dtype::of<float>(), flat)),
        .terminals = static_cast<bool*>(checked(terminals, "terminals", flag, flat)),
        .truncations = static_cast<bool*>(checked(truncations, "truncations", flag, flat)),
        .masks = static_cast<bool*>(checked(masks, "masks", flag, flat)),
        .final_observations =
            final_observations
                ? checked(*final_observations, "final_observations", obs_dtype, observation)
                : nullptr,
        .action_masks = action_masks ? static_cast<bool*>(checked(*action_masks, "action_masks",
                                                                  flag, {rows, choices}))
                                     : nullptr};
    const Turn turn(busy_);
    engine_->bind(raw);
    held_ = {observations, actions, rewards, terminals, truncations, masks};
    if (final_observations) held_.push_back(*final_observations);
    if (action_masks) held_.push_back(*action_masks);
    actions_ = std::move(actions);
    action_space_ = std::move(action_space);
  }

  void reset(std::uint64_t seed) {
    AnyEngine& engine = open();
    if (held_.empty()) throw UsageError("reset before bind: call bind with the buffers first");
    const Turn turn(busy_);
    steps_ = 0;
    const py::gil_scoped_release release;
    engine.reset(seed);
  }

  py::list step(const py::object& actions) {
    AnyEngine& engine = open();
    const Turn turn(busy_);
    if (!engine.started()) throw ResetNeeded("step before reset: call reset first");
    if (!take(actions)) refuse_or_convert(actions);
    {
      const py::gil_scoped_release release;
      engine.step();
    }
    const bool due = report_interval_ == 0 || ++steps_ % report_interval_ == 0;
    return due ? infos() : py::list();
  }

  py::bytes state() {
    const AnyEngine& engine = open();
    require_saves();
    const Turn turn(busy_);
    Writer writer;
    writer.write(steps_);
    engine.save(writer);
    return seal(entry_.name, writer.bytes());
  }

  void set_state(const py::bytes& state) {
    AnyEngine& engine = open();
    require_saves();
    if (held_.empty()) throw UsageError("set_state before bind: call bind with the buffers first");
    const Turn turn(busy_);
    Reader reader(unseal(entry_.name, state));
    const auto steps = reader.read<std::int64_t>();
    engine.load(reader);
    steps_ = steps;
  }

  py::dict draw(std::size_t simulation) {
    const AnyEngine& engine = open();
    const Turn turn(busy_);
    Canvas canvas;
    engine.draw(simulation, canvas);
    const auto rgb = [](Color c) { return py::make_tuple(c.red, c.green, c.blue); };
    py::list shapes;
    for (const Shape& shape : canvas.shapes()) {
      if (const auto* r = std::get_if<Rectangle>(&shape)) {
        shapes.append(py::make_tuple("rectangle", rgb(r->color), r->x, r->y, r->width, r->height));
      } else if (const auto* c = std::get_if<Circle>(&shape)) {
        shapes.append(py::make_tuple("circle", rgb(c->color), c->x, c->y, c->radius));
      } else if (const auto* l = std::get_if<Line>(&shape)) {
        shapes.append(py::make_tuple("line", rgb(l->color), l->x0, l->y0, l->x1, l->y1, l->width));
      } else if (const auto* t = std::get_if<Text>(&shape)) {
        shapes.append(py::make_tuple("text", rgb(t->color), t->x, t->y, t->size, t->text));
      }
    }
    return py::dict("width"_a = canvas.width(), "height"_a = canvas.height(),
                    "background"_a = rgb(canvas.background()), "shapes"_a = shapes);
  }

  void close() {
    const Turn turn(busy_);
    engine_.reset();
    held_.clear();
    actions_.release().dec_ref();
  }

 private:
  // Marks the engine as in use: the GIL is released while it works.
  class Turn {
   public:
    explicit Turn(std::atomic_flag& busy) : busy_(busy) {
      if (busy_.test_and_set(std::memory_order_acquire)) {
        throw UsageError("this env is at work in another thread: use one env per thread");
      }
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { busy_.clear(std::memory_order_release); }

   private:
    std::atomic_flag& busy_;
  };

  AnyEngine& open() {
    if (!engine_) throw ClosedError("the env is closed: make a new one");
    return *engine_;
  }

  void require_saves() const {
    if (entry_.saves) return;
    throw UsageError("environment " + entry_.name +
                     " has no save() and load(), and is not trivially copyable: it cannot save "
                     "its state");
  }

  // True if `object` is an ordinary array of actions within the space, which are then in place.
  bool take(const py::object& object) {
    if (!py::isinstance<py::array>(object)) return false;
    const auto given = py::reinterpret_borrow<py::array>(object);
    if ((given.flags() & py::array::c_style) == 0 || given.ndim() != actions_.ndim()) return false;
    for (py::ssize_t d = 0; d < given.ndim(); ++d) {
      if (given.shape(d) != actions_.shape(d)) return false;
    }
    const ActionSpec& action = engine_->spec().action;
    const std::size_t rows = engine_->num_rows();
    const int type = given.dtype().normalized_num();
    if (action.nvec.empty()) {
      return type == py::dtype::num_of<float>() &&
             take_box(static_cast<const float*>(given.data()), static_cast<float*>(action_data_),
                      rows * action.size, action);
    }
    const auto try_type = [&]<class T>(T /*tag*/) {
      return type == py::dtype::num_of<T>() &&
             take_discrete(static_cast<const T*>(given.data()),
                           static_cast<std::int32_t*>(action_data_), rows, action.nvec);
    };
    return try_type(std::int32_t{}) || try_type(std::int64_t{}) || try_type(std::uint8_t{}) ||
           try_type(std::int8_t{}) || try_type(std::int16_t{}) || try_type(std::uint16_t{}) ||
           try_type(std::uint32_t{}) || try_type(std::uint64_t{});
  }

  // The slow door, shared by all of Puffer: converts what it can and has the words for the rest.
  void refuse_or_convert(const py::object& actions) {
    py::module_::import("puffer.core.spaces")
        .attr("write_actions")(actions, actions_, action_space_);
  }

  py::list infos() {
    py::list list;
    std::size_t episodes = 0;
    std::vector<double> sums(entry_.stat_names.size());
    for (const EpisodeStats& stats : engine_->drain()) {
      if (report_interval_ == 0) {
        py::dict one = info(1, stats.sums);
        one["agent_id"] = stats.agent_id;
        list.append(one);
      }
      episodes += stats.episodes;
      for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += stats.sums[k];
    }
    if (report_interval_ != 0 && episodes != 0) list.append(info(episodes, sums));
    return list;
  }

  py::dict info(std::size_t episodes, const std::vector<double>& sums) const {
    const auto mean = [&](std::size_t k) { return sums[k] / static_cast<double>(episodes); };
    py::dict dict("episodes"_a = episodes, "score"_a = mean(0),
                  "perf"_a = std::numeric_limits<double>::quiet_NaN());
    for (std::size_t k = 0; k < sums.size(); ++k) dict[py::str(entry_.stat_names[k])] = mean(k);
    return dict;
  }

  const EnvEntry& entry_;
  int report_interval_;
  std::int64_t steps_ = 0;
  std::unique_ptr<AnyEngine> engine_;
  std::vector<py::array> held_;  // the engine borrows their memory
  py::array actions_;
  py::object action_space_;
  void* action_data_ = nullptr;
  std::atomic_flag busy_;
};

// Deliberate errors become those of puffer.core.errors.
void translate(std::exception_ptr pointer) {
  const auto raise = [](const char* type, const std::exception& error) {
    py::set_error(py::module_::import("puffer.core.errors").attr(type), error.what());
  };
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const ClosedError& error) {
    raise("ClosedError", error);
  } catch (const ResetNeeded& error) {
    raise("ResetNeeded", error);
  } catch (const UsageError& error) {
    raise("UsageError", error);
  }
}

py::dict describe(const std::string& name) {
  const EnvEntry& entry = find(name);
  py::list options;
  for (const auto& option : entry.options) {
    options.append(py::make_tuple(option.name, option.initial, option.help));
  }
  return py::dict("options"_a = options, "stats"_a = entry.stat_names, "draws"_a = entry.draws,
                  "masks"_a = entry.masks, "saves"_a = entry.saves);
}

}  // namespace

PYBIND11_MODULE(PUFFER_MODULE_NAME, m, py::mod_gil_not_used()) {
  m.attr("__puffer_protocol__") = PUFFER_OCEAN_PROTOCOL;
  py::register_local_exception_translator(&translate);
  m.def("names", [] {
    std::vector<std::string> names;
    for (const auto& entry : entries()) names.push_back(entry.name);
    return names;
  });
  m.def("describe", &describe, "name"_a);
  py::class_<PyEngine>(m, "Engine", py::module_local())
      .def(py::init<const std::string&, int, int, int, const Options&>(), "name"_a, "num_envs"_a,
           "num_threads"_a, "report_interval"_a, "options"_a)
      .def_property_readonly("spec", &PyEngine::spec)
      .def("bind", &PyEngine::bind, "observations"_a, "actions"_a, "rewards"_a, "terminals"_a,
           "truncations"_a, "masks"_a, "final_observations"_a, "action_masks"_a, "action_space"_a)
      .def("reset", &PyEngine::reset, "seed"_a)
      .def("step", &PyEngine::step, "actions"_a)
      .def("state", &PyEngine::state)
      .def("set_state", &PyEngine::set_state, "state"_a)
      .def("draw", &PyEngine::draw, "simulation"_a)
      .def("close", &PyEngine::close);
}
