// tests/gpusim/fakes/half.hpp - the two 16-bit formats of a GPU, as bits: f16 (IEEE 754 binary16)
// and bf16 (the upper half of an f32). Rounding is to nearest, ties to even.
#ifndef TESTS_GPUSIM_FAKES_HALF_HPP
#define TESTS_GPUSIM_FAKES_HALF_HPP

#include <cmath>
#include <cstdint>
#include <cstring>

namespace gpusim {

inline uint32_t bits_of(float x) {
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline float float_of(uint32_t bits) {
    float x = 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// Keeps the upper bits of an f32, the lower `dropped` ones rounded away.
inline float round_mantissa(float x, unsigned dropped) {
    if (!std::isfinite(x)) return x;
    const uint32_t bits = bits_of(x), unit = uint32_t(1) << dropped;
    const uint32_t odd = bits >> dropped & 1;
    return float_of((bits + unit / 2 - 1 + odd) & ~(unit - 1));
}

inline float from_bf16(uint16_t h) { return float_of(uint32_t(h) << 16); }
inline uint16_t to_bf16(float x) {
    if (std::isnan(x)) return 0x7fff;
    return uint16_t(bits_of(round_mantissa(x, 16)) >> 16);
}

inline float from_f16(uint16_t h) {
    const uint32_t sign = uint32_t(h & 0x8000) << 16;
    const int exponent = h >> 10 & 0x1f;
    const uint32_t mantissa = h & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000 | mantissa << 13);
    if (exponent > 0) return float_of(sign | uint32_t(exponent + 112) << 23 | mantissa << 13);
    return float_of(sign) + (sign ? -1.0f : 1.0f) * std::ldexp(float(mantissa), -24);
}
inline uint16_t to_f16(float x) {
    const uint16_t sign = uint16_t(bits_of(x) >> 16 & 0x8000);
    if (std::isnan(x)) return 0x7fff;
    const float size = std::fabs(x);
    if (size >= 65520.0f) return uint16_t(sign | 0x7c00);  // rounds beyond the largest, 65504
    if (size < std::ldexp(1.0f, -14))  // subnormal: multiples of 2^-24, also after rounding up
        return uint16_t(sign | uint16_t(std::nearbyint(std::ldexp(size, 24))));
    const uint32_t bits = bits_of(round_mantissa(size, 13));
    return uint16_t(sign | ((bits >> 13) - (uint32_t(112) << 10)));
}

}  // namespace gpusim

#endif
