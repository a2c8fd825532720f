// A 16-bit floating-point number for observations: half the memory, 3 significant digits.
#pragma once

#include <bit>
#include <cstdint>

namespace puffer::ocean {

// IEEE 754 binary16, numpy's float16. Made from a float by rounding to the nearest, ties to even;
// what is too large becomes infinity. Integer arithmetic alone, so that every machine agrees.
class Half {
 public:
  constexpr Half() = default;
  constexpr Half(float value) : bits_(round(std::bit_cast<std::uint32_t>(value))) {}  // NOLINT

  constexpr operator float() const {  // NOLINT: as implicit as between float and double
    const std::uint32_t sign = (bits_ & 0x8000U) << 16U;
    const std::uint32_t rest = bits_ & 0x7FFFU;
    if (rest >= kInfinity) return std::bit_cast<float>(sign | 0x7F800000U | (rest << 13U));
    // The exponent's bias is 112 less; a product scales subnormal numbers as well.
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(
                                           std::bit_cast<float>(rest << 13U) * 0x1p112F));
  }

  constexpr std::uint16_t bits() const { return bits_; }

 private:
  static constexpr std::uint32_t kInfinity = 0x7C00;

  static constexpr std::uint16_t round(std::uint32_t bits) {
    const std::uint32_t sign = (bits >> 16U) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude >= 0x47800000U) [[unlikely]] {  // 2^16 and more, or not a number
      const bool number = magnitude <= 0x7F800000U;
      return static_cast<std::uint16_t>(
          sign | (number ? kInfinity : 0x7E00U | ((magnitude >> 13U) & 0x3FFU)));
    }
    // Of a subnormal number the sum leaves the digits at the end.
    const float sum = std::bit_cast<float>(magnitude) + 0.5F;
    const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(sum) - 0x3F000000U;
    const std::uint32_t odd = (magnitude >> 13U) & 1U;
    const std::uint32_t normal = (magnitude - (112U << 23U) + 0xFFFU + odd) >> 13U;
    return static_cast<std::uint16_t>(sign | (magnitude < 0x38800000U ? subnormal : normal));
  }

  std::uint16_t bits_ = 0;
};
static_assert(sizeof(Half) == 2);

}  // namespace puffer::ocean
