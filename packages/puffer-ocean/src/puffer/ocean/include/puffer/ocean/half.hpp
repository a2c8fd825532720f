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
    std::uint32_t half = 0;
    if (magnitude > 0x7F800000U) {
      half = 0x7E00;  // not a number
    } else if (magnitude >= 0x47800000U) {  // 2^16 and more
      half = kInfinity;
    } else if (magnitude < 0x38800000U) {  // subnormal: the sum leaves its digits at the end
      const float sum = std::bit_cast<float>(magnitude) + 0.5F;
      half = std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5F);
    } else {
      const std::uint32_t odd = (magnitude >> 13U) & 1U;
      half = (magnitude - (112U << 23U) + 0xFFFU + odd) >> 13U;
    }
    return static_cast<std::uint16_t>(sign | half);
  }

  std::uint16_t bits_ = 0;
};
static_assert(sizeof(Half) == 2);

}  // namespace puffer::ocean
