// Saved states: bytes that are written in order and read back with every length checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "puffer/ocean/errors.hpp"

namespace puffer::ocean {

// What can be saved as it lies in memory. A pointer is not: its target may be gone on the way back.
template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>;

// Appends values to a growing sequence of bytes.
class Writer {
 public:
  template <Plain T>
  void write(const T& value) {
    const auto* bytes = reinterpret_cast<const char*>(&value);
    bytes_.append(bytes, sizeof(T));
  }

  template <Plain T>
  void write(const std::vector<T>& values) {
    write(static_cast<std::uint64_t>(values.size()));
    for (const T& value : values) write(value);
  }

  void write(const std::string& text) {
    write(static_cast<std::uint64_t>(text.size()));
    bytes_ += text;
  }

  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Takes values in the order in which a Writer got them; refuses to read beyond the end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  template <Plain T>
  void read(T& value) {
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
  }

  // A bool is a byte of which only two values mean anything.
  void read(bool& value) {
    std::uint8_t byte = 0;
    read(byte);
    require(byte <= 1);
    value = byte != 0;
  }

  template <Plain T>
  void read(std::vector<T>& values) {
    values.resize(count(sizeof(T)));
    for (auto&& value : values) {
      T one{};
      read(one);
      value = one;
    }
  }

  void read(std::string& text) {
    const std::size_t size = count(1);
    text.assign(take(size), size);
  }

  template <class T>
  T read() {
    T value{};
    read(value);
    return value;
  }

  bool empty() const { return left_.empty(); }
  std::string_view rest() const { return left_; }

  // Refuses the state unless `good`.
  static void require(bool good) {
    if (!good) throw UsageError("the state is damaged: pass what state() returned, unchanged");
  }

 private:
  const char* take(std::size_t size) {
    require(size <= left_.size());
    const char* at = left_.data();
    left_.remove_prefix(size);
    return at;
  }

  // Reads how many elements follow; there must be bytes for all of them.
  std::size_t count(std::size_t element) {
    const auto number = read<std::uint64_t>();
    require(number <= left_.size() / element);
    return static_cast<std::size_t>(number);
  }

  std::string_view left_;
};

// For the `valid` of an environment: true if the byte that stands for `flag` is 0 or 1.
inline bool is_bool(const bool& flag) {
  std::uint8_t byte = 0;
  std::memcpy(&byte, &flag, 1);
  return byte <= 1;
}

// FNV-1a: notices accidents, proves nothing against intent.
inline std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char byte : bytes) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001B3ULL;
  return hash;
}

inline constexpr std::string_view kStateMagic = "puffer-ocean state 1\n";

// Returns `body` with what says whose it is in front and a checksum behind.
inline std::string seal(const std::string& env_name, std::string_view body) {
  Writer writer;
  writer.write(env_name);
  std::string sealed = std::string(kStateMagic) + writer.bytes() + std::string(body);
  writer = {};
  writer.write(checksum(sealed));
  return sealed + writer.bytes();
}

// Returns the body of what `seal` made for the same environment.
inline std::string_view unseal(const std::string& env_name, std::string_view sealed) {
  if (!sealed.starts_with(kStateMagic)) {
    throw UsageError("these " + std::to_string(sealed.size()) +
                     " bytes are no state that this version reads: pass what state() returned");
  }
  Reader::require(sealed.size() >= kStateMagic.size() + sizeof(std::uint64_t));
  const std::string_view content = sealed.substr(0, sealed.size() - sizeof(std::uint64_t));
  Reader::require(Reader(sealed.substr(content.size())).read<std::uint64_t>() ==
                  checksum(content));
  Reader reader(content.substr(kStateMagic.size()));
  const auto made_by = reader.read<std::string>();
  if (made_by != env_name) {
    throw UsageError("the state is of the environment " + made_by + ", this one is " + env_name);
  }
  return reader.rest();
}

}  // namespace puffer::ocean
