// Compiled once into each extension that puffer_add_envs() makes. The only file that knows Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <limits>

#include "actions.hpp"
#include "puffer/ocean/engine.hpp"
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

class PyEngine {
 public:
  PyEngine(const std::string& name, int num_envs, int num_threads, int report_interval,
           const Options& options, const std::string& kernel, const std::string& observation_dtype)
      : entry_(find(name)),
        observation_dtype_(choose_dtype(entry_, observation_dtype)),
        report_interval_(report_interval) {
    if (report_interval < 0) {
      throw UsageError("report_interval=" + std::to_string(report_interval) +
                       ": expected a number of steps, or 0 for every episode");
    }
    engine_ = std::make_unique<Engine>(entry_, options,
                                       Engine::Settings{.num_envs = num_envs,
                                                        .num_threads = num_threads,
                                                        .each_episode = report_interval == 0,
                                                        .kernel = kernel});
  }

  py::dict spec() {
    const Spec& spec = open().spec();
    return py::dict("observation_shape"_a = spec.observation_shape,
                    "observation_dtype"_a = observation_dtype_, "low"_a = spec.low,
                    "high"_a = spec.high, "nvec"_a = spec.action.nvec,
                    "action_size"_a = spec.action.size, "action_low"_a = spec.action.low,
                    "action_high"_a = spec.action.high, "num_agents"_a = spec.num_agents,
                    "max_steps"_a = spec.max_steps, "steps_per_second"_a = spec.steps_per_second);
  }

  int num_threads() {
    open();
    const Turn turn(*this);
    return engine_->num_threads();
  }
  std::string kernel() { return open().kernel(); }

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
    if (action_masks && !entry_.masks) {
      throw UsageError("environment " + entry_.name +
                       " has no mask(): do not pass the buffer action_masks");
    }
    const py::dtype obs_dtype(observation_dtype_);
    const auto flags = [&](const py::array& array, const char* name, py::ssize_t width = 0) {
      return static_cast<bool*>(checked(array, name, py::dtype::of<bool>(),
                                        width == 0 ? flat : std::vector{rows, width}));
    };
    void* const action_data = checked(actions, "actions", py::dtype(entry_.action_dtype), action);
    const Arrays arrays{
        .observations = checked(observations, "observations", obs_dtype, observation),
        .actions = action_data,
        .rewards = static_cast<float*>(checked(rewards, "rewards", py::dtype::of<float>(), flat)),
        .terminals = flags(terminals, "terminals"),
        .truncations = flags(truncations, "truncations"),
        .masks = flags(masks, "masks"),
        .final_observations =
            final_observations
                ? checked(*final_observations, "final_observations", obs_dtype, observation)
                : nullptr,
        .action_masks = action_masks ? flags(*action_masks, "action_masks",
                                             static_cast<py::ssize_t>(mask_size(spec)))
                                     : nullptr,
        .halves = observation_dtype_ != entry_.observation_dtypes.front()};
    const Turn turn(*this);
    engine_->bind(arrays);
    action_data_ = action_data;
    held_ = {observations, actions, rewards, terminals, truncations, masks};  // result() counts
    if (final_observations) held_.push_back(*final_observations);
    if (action_masks) held_.push_back(*action_masks);
    held_data_.clear();
    for (const py::array& array : held_) held_data_.push_back(array.data());
    actions_ = std::move(actions);
    action_space_ = std::move(action_space);
  }

  void reset(std::uint64_t seed) {
    require_bound("reset");
    const Turn turn(*this);
    const py::gil_scoped_release release;
    engine_->reset(seed);
  }

  // Returns the arrays that a step writes and the infos that are due.
  py::tuple step(const py::object& actions) {
    open();
    const Turn turn(*this);
    prepare(actions);
    {
      const py::gil_scoped_release release;
      engine_->step();
    }
    return result();
  }

  void step_async(const py::object& actions) {
    open();
    Turn turn(*this);
    prepare(actions);
    engine_->start();
    stepping_ = true;
    turn.keep();
  }

  py::tuple wait() {
    open();
    if (!stepping_.exchange(false)) {
      throw UsageError("wait without a step under way: call step_async first");
    }
    const Turn turn(*this, Turn::kKept);
    {
      const py::gil_scoped_release release;
      engine_->wait();
    }
    return result();
  }

  // The infos of the episodes that no info has reported so far.
  py::list drain() {
    open();
    const Turn turn(*this);
    return infos();
  }

  void vary(const std::string& option, const py::array& values) {
    open();
    const Turn turn(*this);
    const auto given = [&]<class T>(T /*tag*/) {
      const auto array = py::array_t<T, py::array::c_style>::ensure(values);
      if (!array) throw py::error_already_set();
      engine_->vary(option, std::span<const T>(array.data(), static_cast<std::size_t>(array.size())));
    };
    switch (values.dtype().kind()) {
      case 'b': return given(bool{});
      case 'i':
      case 'u': return given(std::int64_t{});
      case 'f': return given(double{});
      default:
        throw UsageError("option " + option + ": values of dtype " + text(values.dtype()) +
                         " cannot vary, expected numbers or bools");
    }
  }

  py::bytes state() {
    open();
    const Turn turn(*this);
    return engine_->state();
  }

  void set_state(const py::bytes& state) {
    require_bound("set_state");
    const Turn turn(*this);
    engine_->set_state(state);
  }

  py::dict draw(std::size_t simulation) {
    open();
    const Turn turn(*this);
    Canvas canvas;
    engine_->draw(simulation, canvas);
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
    if (stepping_.exchange(false)) busy_.clear();  // the engine waits for its threads
    const Turn turn(*this);
    engine_.reset();
    held_.clear();
    actions_.release().dec_ref();
  }

 private:
  // Marks the engine as in use: the GIL is released while it works.
  class Turn {
   public:
    static constexpr bool kKept = true;

    // With `kept`, takes over from step_async.
    explicit Turn(PyEngine& engine, bool kept = false) : engine_(engine) {
      if (kept || !engine.busy_.test_and_set(std::memory_order_acquire)) return;
      throw UsageError(engine.stepping_
                           ? "a step is under way: call wait before anything else"
                           : "this env is at work in another thread: use one env per thread");
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      if (!keep_) engine_.busy_.clear(std::memory_order_release);
    }

    void keep() { keep_ = true; }

   private:
    PyEngine& engine_;
    bool keep_ = false;
  };

  Engine& open() {
    if (!engine_) throw ClosedError("the env is closed: make a new one");
    return *engine_;
  }

  void require_bound(const std::string& call) {
    open();
    if (held_.empty()) throw UsageError(call + " before bind: call bind with the buffers first");
    require_in_place();
  }

  // An array that was resized in place has left its memory.
  void require_in_place() const {
    for (std::size_t i = 0; i < held_.size(); ++i) {
      if (held_[i].data() == held_data_[i]) continue;
      throw UsageError("an array was resized after it was bound: attach the buffers again");
    }
  }

  void prepare(const py::object& actions) {
    require_in_place();
    if (!engine_->started()) throw ResetNeeded("step before reset: call reset first");
    if (!take(actions)) refuse_or_convert(actions);
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

  py::tuple result() {
    const bool due = report_interval_ == 0 || engine_->steps() % report_interval_ == 0;
    return py::make_tuple(held_[0], held_[2], held_[3], held_[4], due ? infos() : py::list());
  }

  py::list infos() {
    py::list list;
    std::size_t episodes = 0;
    std::vector<double> sums(entry_.stat_names.size());
    engine_->drain([&](const Log& log) {
      for (const Log::Episode& episode : log.episodes()) {
        py::dict one = info(1, episode.stats);
        one["agent_id"] = episode.agent_id;
        list.append(one);
      }
      episodes += log.count();
      for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += log.sums()[k];
    });
    if (episodes != 0) list.append(info(episodes, sums));
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
  std::string observation_dtype_;
  int report_interval_;
  std::vector<py::array> held_;  // the engine borrows their memory
  std::vector<const void*> held_data_;
  py::array actions_;
  py::object action_space_;
  void* action_data_ = nullptr;
  std::atomic_flag busy_;
  std::atomic<bool> stepping_ = false;  // between step_async and wait, which keeps it busy
  std::unique_ptr<Engine> engine_;      // last: it ends before the memory that it may be writing
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
  py::list options, kernels;
  for (const auto& option : entry.options) {
    options.append(py::make_tuple(option.name, option.initial, option.help));
  }
  for (const auto& kernel : entry.kernels) {
    if (kernel.usable) kernels.append(kernel.name);
  }
  return py::dict("options"_a = options, "stats"_a = entry.stat_names, "draws"_a = entry.draws,
                  "masks"_a = entry.masks, "saves"_a = entry.saves, "kernels"_a = kernels,
                  "observation_dtypes"_a = entry.observation_dtypes);
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
      .def(py::init<const std::string&, int, int, int, const Options&, const std::string&,
                    const std::string&>(),
           "name"_a, "num_envs"_a, "num_threads"_a, "report_interval"_a, "options"_a,
           "kernel"_a = "auto", "observation_dtype"_a = "auto")
      .def_property_readonly("spec", &PyEngine::spec)
      .def_property_readonly("num_threads", &PyEngine::num_threads)
      .def_property_readonly("kernel", &PyEngine::kernel)
      .def("bind", &PyEngine::bind, "observations"_a, "actions"_a, "rewards"_a, "terminals"_a,
           "truncations"_a, "masks"_a, "final_observations"_a, "action_masks"_a, "action_space"_a)
      .def("reset", &PyEngine::reset, "seed"_a)
      .def("step", &PyEngine::step, "actions"_a)
      .def("step_async", &PyEngine::step_async, "actions"_a)
      .def("wait", &PyEngine::wait)
      .def("drain", &PyEngine::drain)
      .def("vary", &PyEngine::vary, "option"_a, "values"_a)
      .def("state", &PyEngine::state)
      .def("set_state", &PyEngine::set_state, "state"_a)
      .def("draw", &PyEngine::draw, "simulation"_a)
      .def("close", &PyEngine::close);
}
