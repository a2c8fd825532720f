// Does not compile, on purpose: each environment lacks one part of the contract.
#include <puffer/ocean/registry.hpp>

using namespace puffer::ocean;

struct Good {
  using Obs = std::uint8_t;
  using Action = std::int32_t;
  struct Config {};
  static constexpr std::tuple<> config_fields{};
  static Spec spec(const Config&) { return {.observation_shape = {1}}; }
  explicit Good(const Config&) {}
  void reset(Rng&) {}
  void step(Io<Action>, Rng&) {}
  void observe(std::span<Obs>) const {}
};
PUFFER_ENV(good, Good)

struct BadObs : Good {
  using Good::Good;
  using Obs = double;
};
PUFFER_ENV(bad_obs, BadObs)

struct BadAction : Good {
  using Good::Good;
  using Action = std::int64_t;
};
PUFFER_ENV(bad_action, BadAction)

struct BadOptions : Good {
  using Good::Good;
  static constexpr int config_fields = 0;
};
PUFFER_ENV(bad_options, BadOptions)

struct BadSpec : Good {
  using Good::Good;
  static int spec(const Config&) { return 0; }
};
PUFFER_ENV(bad_spec, BadSpec)

struct BadReset : Good {
  using Good::Good;
  void reset() {}
};
PUFFER_ENV(bad_reset, BadReset)

struct BadStep : Good {
  using Good::Good;
  void step(int) {}
};
PUFFER_ENV(bad_step, BadStep)

struct BadUpdate : Good {
  using Good::Good;
  void update(std::span<float>) {}
};
PUFFER_ENV(bad_update, BadUpdate)

struct BadMask : Good {
  using Good::Good;
  void mask(std::vector<bool>&) const {}
};
PUFFER_ENV(bad_mask, BadMask)

struct BadSave : Good {
  using Good::Good;
  void save(Writer&) const {}
};
PUFFER_ENV(bad_save, BadSave)

struct BadValid : Good {
  using Good::Good;
  bool valid() const { return true; }
};
PUFFER_ENV(bad_valid, BadValid)

struct BadShared : Good {
  using Good::Good;
  struct Shared {};
};
PUFFER_ENV(bad_shared, BadShared)

struct BadDraw : Good {
  using Good::Good;
  void draw() const {}
};
PUFFER_ENV(bad_draw, BadDraw)

struct BadStats : Good {
  using Good::Good;
  static constexpr int stat_fields = 3;
};
PUFFER_ENV(bad_stats, BadStats)

template <std::size_t kLanes>
struct BadBlock {
  explicit BadBlock(const Good::Config&) {}
};
PUFFER_ENV(bad_block, Good, BadBlock)

struct BadObserve : Good {
  using Good::Good;
  void observe(std::span<Obs>) {}
};
PUFFER_ENV(bad_observe, BadObserve)
