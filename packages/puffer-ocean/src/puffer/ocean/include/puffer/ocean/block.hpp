// The second form of an environment: several simulations side by side in the lanes of vectors.
#pragma once

#include <array>
#include <concepts>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "puffer/ocean/lanes.hpp"
#include "puffer/ocean/levels.hpp"
#include "puffer/ocean/scalar.hpp"

namespace puffer::ocean {

// What the author of a block writes: `template <std::size_t kLanes> class B`, for an environment E
// with one agent, equal to it bit by bit. The scalar form stays: as the oracle of the tests, for
// the simulations that fill no block, and for all that is rare, which `get` and `put` translate.
template <class B, class E>
concept Block = Environment<E> && std::constructible_from<B, const typename E::Config&> &&
                requires(B& block, const B& seen, std::size_t lane, const E& env,
                         Io<typename E::Action> io, Lanes lanes, std::span<typename E::Obs> rows) {
                  block.put(lane, env);
                  { seen.get(lane) } -> std::same_as<E>;
                  // All lanes, whose rows io holds: writes every reward and terminal, and says
                  // whether any is true. The engine alone truncates.
                  { block.step(io, lanes) } -> std::same_as<bool>;
                  seen.observe(rows);     // all lanes
                };

// Optional: `update(rows)` writes what has changed since `observe` or `update` of the same rows. It
// is called for lanes whose episode just ended as well; what it writes there is written over.
template <class B, class E>
concept UpdatingBlock = requires(B& block, std::span<typename E::Obs> rows) { block.update(rows); };

template <class E, template <std::size_t> class B, Level level>
class Blocks final : public Simulations {
  static constexpr std::size_t kLanes = lanes_of(level);

 public:
  using Obs = typename E::Obs;
  using Action = typename E::Action;

  Blocks(std::shared_ptr<const Rules<E>> rules, std::size_t count)
      : rules_(std::move(rules)),
        count_(count),
        width_(observation_size(rules_->spec)),
        cells_(rules_->spec.num_agents == 1 ? count / kLanes : 0, Cell{B<kLanes>{rules_->config}}),
        rest_(std::make_unique<Scalar<E>>(rules_, count - in_blocks(), in_blocks())) {}

  const Spec& spec() const override { return rules_->spec; }

  void bind(const Arrays& arrays) override {
    Simulations::bind(arrays);
    rest_->bind(arrays);
  }

  void reset(Range range, std::uint64_t seed) override {
    const auto [blocks, rest] = split(range);
    with_rows<Obs>(arrays_.halves, [&](auto& rows) {
      for (std::size_t i = blocks.first; i < blocks.last; i += kLanes) {
        Cell& cell = cells_[i / kLanes];
        clear(i);
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
          E env = rules_->make(rules_->config);
          begin(cell, lane, i + lane, env, seed, 0, rows);
        }
      }
    });
    rest_->reset(rest, seed);
  }

  void step(Range range, std::uint64_t seed, Logs& logs) override {
    const auto [blocks, rest] = split(range);
    with_rows<Obs>(arrays_.halves, [&](auto& rows) {
      for (std::size_t first = blocks.first; first < blocks.last; first += kPiece) {
        const Range piece{first, std::min(first + kPiece, blocks.last)};
        if (step_piece(piece, seed, rows)) close(piece, seed, logs, rows);
      }
    });
    rest_->step(rest, seed, logs);
  }

  void show(Range range) override {
    const auto [blocks, rest] = split(range);
    with_rows<Obs>(arrays_.halves, [&](auto& rows) {
      for (std::size_t i = blocks.first; i < blocks.last; i += kLanes) {
        clear(i);
        rows.observe(cells_[i / kLanes].block, arrays_.observations, i * width_, kLanes * width_);
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
          show_mask(i + lane, cells_[i / kLanes].block.get(lane));
        }
      }
    });
    rest_->show(rest);
  }

  // Options that differ are the scalar form's business from now on.
  void vary(const std::string& option, const Values& values) override {
    auto scalar = all_scalar();
    scalar->vary(option, values);
    rest_ = std::move(scalar);
    cells_.clear();
  }

  void draw(std::size_t i, Canvas& canvas) const override {
    if (i >= in_blocks()) {
      rest_->draw(i, canvas);
    } else if constexpr (HasDraw<E>) {
      cells_[i / kLanes].block.get(i % kLanes).draw(canvas);
    }
  }

  bool saves() const override { return Saveable<E>; }
  void save(Writer& writer) const override { all_scalar()->save(writer); }

  std::unique_ptr<Simulations> load(Reader& reader) const override {
    auto loaded = std::make_unique<Blocks>(rules_, count_);
    loaded->bind(arrays_);
    auto scalar = all_scalar()->load(reader);
    auto& all = static_cast<Scalar<E>&>(*scalar);
    if (all.varies()) {
      loaded->rest_.reset(static_cast<Scalar<E>*>(scalar.release()));
      loaded->cells_.clear();
      return loaded;
    }
    for (std::size_t i = 0; i < count_; ++i) {
      if (i < loaded->in_blocks()) {
        Cell& cell = loaded->cells_[i / kLanes];
        cell.block.put(i % kLanes, all.slot(i).env);
        cell.rewards[i % kLanes] = all.slot(i).counted.total_reward;
        cell.ticks[i % kLanes] = all.slot(i).counted.length;
        cell.episodes[i % kLanes] = all.slot(i).episode;
      } else {
        loaded->rest_->slot(i) = all.slot(i);
      }
    }
    return loaded;
  }

 private:
  static constexpr std::size_t kPiece = 256;  // simulations that the first cache holds

  using Floats = Vector<float, kLanes>;
  using Ints = Vector<std::int32_t, kLanes>;

  struct alignas(64) Cell {
    B<kLanes> block;
    std::array<float, kLanes> rewards{};  // of the episode so far
    std::array<std::int32_t, kLanes> ticks{};
    std::array<std::uint32_t, kLanes> episodes{};
  };

  std::size_t in_blocks() const { return cells_.size() * kLanes; }

  std::pair<Range, Range> split(Range range) const {
    const std::size_t middle = std::clamp(in_blocks(), range.first, range.last);
    return {{range.first, middle}, {middle, range.last}};
  }

  void clear(std::size_t i) const {
    std::fill_n(arrays_.rewards + i, kLanes, 0.0F);
    std::fill_n(arrays_.terminals + i, kLanes, false);
    std::fill_n(arrays_.truncations + i, kLanes, false);
    std::fill_n(arrays_.masks + i, kLanes, true);
  }

  // Steps whole blocks, true if any episode ended. They are closed afterwards: a branch on the end
  // of a long computation is wrong too often, and would make all that follows wait.
  bool step_piece(Range piece, std::uint64_t seed, auto& rows) {
    bool any = false;
    At<level>::call([this, piece, seed, &rows, &any] {
      // A copy, for stores of bytes may alias any member.
      const Constants all{arrays_, rules_->spec.action.size, width_, rules_->spec.max_steps};
      Cell* cell = cells_.data() + piece.first / kLanes;
      bool ended = false;
      for (std::size_t i = piece.first; i < piece.last; i += kLanes) {
        ended |= step_cell(*cell++, i, all, seed, rows);
      }
      any = ended;
    });
    return any;
  }

  // What a step reads again and again.
  struct Constants {
    Arrays arrays;
    std::size_t components;
    std::size_t width;
    std::int32_t max_steps;
  };

  bool step_cell(Cell& cell, std::size_t i, const Constants& all, std::uint64_t seed,
                 auto& rows) {
    std::memset(all.arrays.masks + i, 1, kLanes);
    const auto* const actions = static_cast<const Action*>(all.arrays.actions) + i * all.components;
    const Io<Action> io{.actions = {actions, kLanes * all.components},
                        .rewards = {all.arrays.rewards + i, kLanes},
                        .terminals = {all.arrays.terminals + i, kLanes},
                        .truncations = {all.arrays.truncations + i, kLanes},
                        .masks = {all.arrays.masks + i, kLanes}};
    const Ints ticks = load_lanes<Ints>(cell.ticks.data()) + 1;
    store_lanes(cell.ticks.data(), ticks);
    bool ended = cell.block.step(io, Lanes{seed + i, cell.episodes.data(), cell.ticks.data()});
    ended |= store_flags(io.truncations.data(), ~less<kLanes>(ticks, all.max_steps));
    clear_flags<kLanes>(io.truncations.data(), io.terminals.data());
    const auto rewards = load_lanes<Floats>(cell.rewards.data()) + load_lanes<Floats>(io.rewards.data());
    store_lanes(cell.rewards.data(), rewards);
    if constexpr (UpdatingBlock<B<kLanes>, E>) {
      rows.update(cell.block, all.arrays.observations, i * all.width, kLanes * all.width);
    } else {
      rows.observe(cell.block, all.arrays.observations, i * all.width, kLanes * all.width);
    }
    if constexpr (HasMask<E>) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) show_mask(i + lane, cell.block.get(lane));
    }
    return ended;
  }

  // The rare path, one simulation after the other.
  void close(Range piece, std::uint64_t seed, Logs& logs, auto& rows) {
    const bool* const terminals = arrays_.terminals + piece.first;
    const bool* const truncations = arrays_.truncations + piece.first;
    for_each_set<kLanes>(terminals, truncations, piece.last - piece.first, [&](std::size_t k) {
      const std::size_t i = piece.first + k;
      finish(cells_[i / kLanes], i % kLanes, i, seed, logs, rows);
    });
  }

  void finish(Cell& cell, std::size_t lane, std::size_t i, std::uint64_t seed, Logs& logs,
              auto& rows) {
    E env = cell.block.get(lane);
    if (arrays_.final_observations != nullptr) {
      rows.observe(env, arrays_.final_observations, i * width_, width_);
    }
    logs.add(i, i, detail::read_stats(env, Episode{cell.rewards[lane], cell.ticks[lane]}));
    begin(cell, lane, i, env, seed, cell.episodes[lane] + 1, rows);
  }

  void begin(Cell& cell, std::size_t lane, std::size_t i, E& env, std::uint64_t seed,
             std::uint32_t episode, auto& rows) {
    restart(cell, lane, i, env, seed, episode);
    rows.observe(env, arrays_.observations, i * width_, width_);
    show_mask(i, env);
  }

  // Once, whatever the rows are: so the author's reset is inlined.
  void restart(Cell& cell, std::size_t lane, std::size_t i, E& env, std::uint64_t seed,
               std::uint32_t episode) {
    cell.rewards[lane] = 0;
    cell.ticks[lane] = 0;
    cell.episodes[lane] = episode;
    Rng rng(seed + i, episode, 0);
    env.reset(rng);
    cell.block.put(lane, env);
  }

  void show_mask(std::size_t i, const E& env) const {
    if constexpr (HasMask<E>) {
      if (arrays_.action_masks == nullptr) return;
      const std::size_t size = mask_size(rules_->spec);
      const std::span<bool> allowed{arrays_.action_masks + i * size, size};
      std::ranges::fill(allowed, true);
      env.mask(allowed);
    }
  }

  // All simulations in the form that can be saved and varied.
  std::unique_ptr<Scalar<E>> all_scalar() const {
    if (cells_.empty()) return std::make_unique<Scalar<E>>(*rest_);
    auto all = std::make_unique<Scalar<E>>(rules_, count_);
    all->bind(arrays_);
    for (std::size_t i = 0; i < count_; ++i) {
      if (i < in_blocks()) {
        const Cell& cell = cells_[i / kLanes];
        const std::size_t lane = i % kLanes;
        all->slot(i) = {.env = cell.block.get(lane),
                        .counted = {cell.rewards[lane], cell.ticks[lane]},
                        .episode = cell.episodes[lane],
                        .max_steps = rules_->spec.max_steps};
      } else {
        all->slot(i) = rest_->slot(i);
      }
    }
    return all;
  }

  std::shared_ptr<const Rules<E>> rules_;
  std::size_t count_;
  std::size_t width_;
  std::vector<Cell> cells_;
  std::unique_ptr<Scalar<E>> rest_;  // simulations that fill no block, or all of them
};

}  // namespace puffer::ocean
