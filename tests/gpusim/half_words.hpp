// tests/gpusim/half_words.hpp - CUDA's words for numbers of 16 bits, for the C++ compiler: rounding
// to nearest, ties to even, as the GPU's own instructions do it.
#ifndef TESTS_GPUSIM_HALF_WORDS_HPP
#define TESTS_GPUSIM_HALF_WORDS_HPP

#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
    uint16_t bits;
};
struct __half {
    uint16_t bits;
};

namespace gpusim {
inline uint32_t bits_of(float x) {
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
}  // namespace gpusim

inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    const uint32_t bits = gpusim::bits_of(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff};
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline __half __float2half_rn(float x) {
    const uint32_t bits = gpusim::bits_of(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return {0x7fff};
    if (size >= 0x477ff000) return {uint16_t(sign | 0x7c00)};  // from 65520 on
    if (size >= 0x38800000)
        return {uint16_t(sign | ((size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13))};
    // below 2^-14 the last place is 2^-24, which is that of a float between 1/2 and 1
    float positive = 0;
    memcpy(&positive, &size, sizeof positive);
    return {uint16_t(sign | (gpusim::bits_of(positive + 0.5f) - gpusim::bits_of(0.5f)))};
}
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }

#endif
