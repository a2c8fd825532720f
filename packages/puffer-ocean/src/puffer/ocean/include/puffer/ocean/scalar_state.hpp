// Of the scalar form: saved states, and options that differ between simulations.
#pragma once

#include "puffer/ocean/scalar.hpp"

namespace puffer::ocean {

template <Environment E>
void Scalar<E>::vary(const std::string& option, const Values& values) {
  auto varied = std::make_unique<Varied>(varied_ ? *varied_
                                                 : Varied{{slots_.size(), rules_->config},
                                                          {slots_.size(), rules_->config},
                                                          {}});
  varied->next_max_steps.resize(slots_.size());
  for (std::size_t k = 0; k < slots_.size(); ++k) {
    Config& config = varied->next[k];
    Spec spec;
    try {
      std::visit([&](auto all) { detail::set_option<E>(config, option, Value(all[k])); }, values);
      spec = checked(E::spec(config), std::same_as<Action, float>);
    } catch (const UsageError& error) {
      throw UsageError("simulation " + std::to_string(k) + ": " + error.what());
    }
    require_alike(rules_->spec, spec, k);
    if constexpr (HasShared<E>) {
      if (!detail::shares(*rules_->shared, config)) {
        throw UsageError("option " + option +
                         " cannot differ between simulations: they share data that was made once");
      }
    }
    varied->next_max_steps[k] = spec.max_steps;
  }
  varied_ = std::move(varied);
}

template <Environment E>
void Scalar<E>::save(Writer& writer) const {
  if constexpr (Saveable<E>) {
    writer.write(static_cast<std::uint8_t>(varied_ != nullptr));
    for (std::size_t k = 0; varied_ && k < slots_.size(); ++k) {
      detail::save_options<E>(writer, varied_->now[k]);
      detail::save_options<E>(writer, varied_->next[k]);
    }
    for (const Slot& slot : slots_) {
      writer.write(slot.counted.total_reward);
      writer.write(slot.counted.length);
      writer.write(slot.episode);
      if constexpr (HasSave<E>) {
        slot.env.save(writer);
      } else if constexpr (HasShared<E>) {
        E env = slot.env;
        env.shared = nullptr;
        writer.write(env);
      } else {
        writer.write(slot.env);
      }
    }
  }
}

template <Environment E>
std::unique_ptr<Simulations> Scalar<E>::load(Reader& reader) const {
  auto loaded = std::make_unique<Scalar>(rules_, slots_.size(), base_);
  loaded->bind(arrays_);
  if constexpr (Saveable<E>) {
    if (reader.read<bool>()) {
      loaded->varied_ = std::make_unique<Varied>();
      for (std::size_t k = 0; k < slots_.size(); ++k) {
        Config now = rules_->config, next = rules_->config;
        detail::load_options<E>(reader, now);
        detail::load_options<E>(reader, next);
        const auto max_steps = [&](const Config& config) {
          const Spec spec = checked(E::spec(config), std::same_as<Action, float>);
          require_alike(rules_->spec, spec, k);
          if constexpr (HasShared<E>) Reader::require(detail::shares(*rules_->shared, config));
          return spec.max_steps;
        };
        replace(loaded->slots_[k].env, now);
        loaded->slots_[k].max_steps = max_steps(now);
        loaded->varied_->next_max_steps.push_back(max_steps(next));
        loaded->varied_->now.push_back(std::move(now));
        loaded->varied_->next.push_back(std::move(next));
      }
    }
    for (std::size_t k = 0; k < slots_.size(); ++k) {
      Slot& slot = loaded->slots_[k];
      reader.read(slot.counted.total_reward);
      reader.read(slot.counted.length);
      reader.read(slot.episode);
      if constexpr (HasSave<E>) {
        slot.env.load(reader);
      } else {
        reader.read(slot.env);
      }
      if constexpr (HasShared<E>) slot.env.shared = rules_->shared.get();
      Reader::require(slot.counted.length >= 0 && slot.counted.length < slot.max_steps);
      if constexpr (HasValid<E>) {
        Reader::require(slot.env.valid(loaded->varied_ ? loaded->varied_->now[k] : rules_->config));
      }
    }
  }
  return loaded;
}

}  // namespace puffer::ocean
