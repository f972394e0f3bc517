// model/kernels_patches.cu - pictures to patch tokens (model_patches in model/backend.h): a thread
// per pixel of the resized square, then the place of each patch. Area weights are whole numbers
// over a whole number, so they need no double.
#include "model/kernels.cuh"

#define BACKGROUND 127.0f

// Pixel i of `to` covers [i * from, (i + 1) * from) in units of 1/to of a source pixel.
struct cover {
    size_t first, last, begin, end;
};
static __device__ __forceinline__ struct cover cover_of(size_t i, size_t from, size_t to) {
    const size_t begin = i * from, end = begin + from;
    return {begin / to, (end - 1) / to, begin, end};
}
static __device__ __forceinline__ float weight_of(const struct cover &c, size_t at, size_t from,
                                                  size_t to) {
    const size_t low = c.begin > at * to ? c.begin : at * to;
    const size_t high = c.end < (at + 1) * to ? c.end : (at + 1) * to;
    return float(high - low) / float(from);
}

struct picture {
    size_t side, top, left, side_out;  // of the padded square; of the resized one
};
static __device__ __forceinline__ struct picture picture_of(const struct model_patches &a) {
    const size_t side = a.height > a.width ? a.height : a.width;
    return {side, (side - a.height) / 2, (side - a.width) / 2, size_t(a.grid) * a.patch};
}

// The three channels at (y, x) of the resized square, in 0..255.
struct colour {
    float c[3];
};
static __device__ struct colour resized(const struct model_patches &a, const struct picture &p,
                                        size_t image, size_t y, size_t x) {
    const struct cover rows = cover_of(y, p.side, p.side_out);
    const struct cover columns = cover_of(x, p.side, p.side_out);
    struct colour sum = {{0, 0, 0}};
    for (size_t r = rows.first; r <= rows.last; r++) {
        const float row_weight = weight_of(rows, r, p.side, p.side_out);
        const bool row_in = r >= p.top && r < p.top + a.height;
        size_t row = r - p.top;
        if (a.flip_rows) row = a.height - 1 - row;
        for (size_t c = columns.first; c <= columns.last; c++) {
            const float weight = row_weight * weight_of(columns, c, p.side, p.side_out);
            const bool in = row_in && c >= p.left && c < p.left + a.width;
            const size_t at = in ? ((image * a.height + row) * a.width + c - p.left) * 3 : 0;
            for (size_t i = 0; i < 3; i++)
                sum.c[i] += weight * (in ? float(a.pixels[at + i]) : BACKGROUND);
        }
    }
    return sum;
}

__global__ void __launch_bounds__(BLOCK_THREADS) patches_kernel(struct model_patches a) {
    const struct picture p = picture_of(a);
    const size_t grid = a.grid, patch = a.patch, token = 3 * patch * patch + MODEL_PATCH_PLACE;
    for (FOR_EACH_ELEMENT(pixel, a.images * p.side_out * p.side_out)) {
        const size_t x = pixel % p.side_out, y = pixel / p.side_out % p.side_out;
        const size_t image = pixel / p.side_out / p.side_out;
        struct colour seen = {{BACKGROUND, BACKGROUND, BACKGROUND}};
        if (!a.mask || a.mask[image]) seen = resized(a, p, image, y, x);
        float *to = a.tokens + ((image * grid + y / patch) * grid + x / patch) * token +
                    (y % patch * patch + x % patch) * 3;
        for (size_t i = 0; i < 3; i++) to[i] = (seen.c[i] / 255.0f - a.mean[i]) / a.deviation;
    }
}

// v, then sine and cosine of pi f v, f = 1/2, 1, 2, 4: nine numbers of a row or a column.
__global__ void __launch_bounds__(BLOCK_THREADS) places_kernel(struct model_patches a) {
    const size_t grid = a.grid, pixels = 3 * size_t(a.patch) * a.patch;
    const size_t half = MODEL_PATCH_PLACE / 2;
    for (FOR_EACH_ELEMENT(i, a.images * grid * grid * 2)) {
        const size_t patch = i / 2, index = i % 2 == 0 ? patch / grid % grid : patch % grid;
        float *to = a.tokens + patch * (pixels + MODEL_PATCH_PLACE) + pixels + i % 2 * half;
        const float v = float(2 * index + 1) / float(grid) - 1;
        *to++ = v;
        for (float f = 0.5f; f <= 4; f *= 2) {
            *to++ = sinpif(f * v);
            *to++ = cospif(f * v);
        }
    }
}
void model_kernel_patches(struct CUstream_st *stream, const struct model_patches *a) {
    const struct model_patches args = *a;
    const size_t side = size_t(a->grid) * a->patch;
    LAUNCH(patches_kernel, element_blocks(a->images * side * side), BLOCK_THREADS, 0, stream, args);
    LAUNCH(places_kernel, element_blocks(a->images * a->grid * a->grid * 2), BLOCK_THREADS, 0,
           stream, args);
}
