// The non-local operation over all keys by softmax, on tensor cores.
//
// Numbers are split in two halves, x = high + low, that together hold 22 bits, and three products
// are summed in float32; see tensor.cu. Queries, keys and values come with their peaks and are
// multiplied by powers of two that take these to TOP bits.
//
// A warp takes 16 queries and meets 64 keys at a time: scores are 8 tiles of 16 x 8, which it holds
// as sums; as weights they are, lane by lane, what the next product wants as its first factor. So
// they never leave registers. The softmax is an online one (Milakov & Gimelshein,
// arXiv:1805.02867), in powers of two.
//
// - Bound: 3 (d + C) multiply-adds on tensor cores for a query and key. 65 536 positions with
//   d = C = 64 are 1.6e12 of them: 3.4 ms at the data sheet's 2048 a cycle of a multiprocessor of
//   compute capability 9.0, 132 of them at 1.8 GHz, of which `mma` is said to reach six tenths
//   (derived, not measured). What else a warp does for a tile, 64 x 16 powers of two among it,
//   takes about as many instructions as its products.

#ifndef DEPTH
#define DEPTH 64     // channels of queries and keys, a multiple of 16
#define CHANNELS 64  // channels of values that are averaged together, a multiple of 8
#endif

constexpr int KEYS = 64, WARPS = 4, THREADS = 32 * WARPS, TOP = 8;
constexpr int STRIDE = KEYS + 8;  // 8 mod 32: four rows, no bank twice
constexpr int VALUE_STRIDE = (CHANNELS + 23) / 32 * 32 + 8;
constexpr int STEPS = DEPTH / 16, TILES = KEYS / 8, VALUE_TILES = CHANNELS / 8;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800 && __CUDA_ARCH__ < 900
constexpr int BLOCKS = 2;  // that share a multiprocessor: registers are the limit
#else
constexpr int BLOCKS = DEPTH > 64 ? 2 : 3;
#endif
constexpr float HIDDEN = -1e30f, NOTHING = -1e25f;

#ifndef ON_HOST
// Two numbers, rounded to halves, in one word.
__device__ __forceinline__ unsigned pack(float low, float high) {
    unsigned packed;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
#else
    asm("{.reg .f16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b};}"
        : "=r"(packed) : "f"(low), "f"(high));
#endif
    return packed;
}

__device__ __forceinline__ void unpack(unsigned packed, float& low, float& high) {
    asm("{.reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
        : "=f"(low), "=f"(high) : "r"(packed));
}

// sums += a b, for the 16 x 16 and 16 x 8 matrices of a warp.
__device__ __forceinline__ void multiply(float* sums, const uint4& a, unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.x), "r"(a.y), "r"(b0));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.z), "r"(a.w), "r"(b1));
#endif
}
#endif

// The power of two that takes a peak to TOP bits.
__device__ float scale_of(unsigned peak) {
    const unsigned exponent = max((int)(peak >> 23), TOP + 1);
    return __uint_as_float((254 + TOP - exponent) << 23);
}

__device__ void split(float low, float high, unsigned* highs, unsigned* lows) {
    *highs = pack(low, high);
    float a, b;
    unpack(*highs, a, b);
    *lows = pack(low - a, high - b);
}

// Pairs of numbers of a matrix (count, size), split: along its rows or along its columns, filled up
// with zeros to (2, across, down) words.
extern "C" __global__ void split_pairs(const float* numbers, const unsigned* peak, unsigned* words,
                                       int count, int size, int along_rows, int down, int across) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= across) return;
    const float scale = scale_of(*peak);
    float pair[2];
    for (int k = 0; k < 2; k++) {
        // along rows: words (size / 2, count); along columns: (count / 2, size)
        const int row = along_rows ? x : 2 * y + k, column = along_rows ? 2 * y + k : x;
        const bool inside = row < count && column < size;
        pair[k] = inside ? numbers[(size_t)row * size + column] * scale : 0;
    }
    const size_t at = (size_t)y * across + x;
    split(pair[0], pair[1], words + at, words + at + (size_t)down * across);
}

extern __shared__ float shared[];

// Copy `rows` rows of words that lie `stride` apart, high and low, to shared memory.
__device__ void stage(const unsigned* words, size_t part, size_t stride, int rows, int row_words,
                      unsigned* to, int to_stride) {
    const int quads = row_words / 4;
    for (int k = threadIdx.x; k < 2 * rows * quads; k += THREADS) {
        const int half = k / (rows * quads), row = k / quads % rows, quad = k % quads * 4;
        *(uint4*)(to + (half * rows + row) * to_stride + quad) =
            *(const uint4*)(words + half * part + row * stride + quad);
    }
}

// queries: (count, size) float32; keys: (2, DEPTH / 2, keys') words and values: (2, keys' / 2,
// value_columns) words from split_pairs, keys' a multiple of KEYS; out: (count, out_channels).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attend(const float* queries, const unsigned* keys, const unsigned* values, float* out,
       const unsigned* query_peak, const unsigned* key_peak, const unsigned* value_peak, int count,
       int size, int key_count, int padded_keys, int value_columns, int out_channels,
       float scale) {
    unsigned* const key_words = (unsigned*)shared;                // (2, DEPTH / 2, STRIDE)
    unsigned* const value_words = key_words + DEPTH * STRIDE;     // (2, KEYS / 2, VALUE_STRIDE)
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = lane / 4, pair = lane % 4;
    const int first = (blockIdx.x * WARPS + warp) * 16, first_channel = blockIdx.y * CHANNELS;
    const float query_scale = scale_of(*query_peak);
    const float back = scale / (query_scale * scale_of(*key_peak));

    uint4 query_high[STEPS], query_low[STEPS];
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
        unsigned high[4], low[4];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int query = min(first + row + k % 2 * 8, count - 1);
            const int c = s * 16 + k / 2 * 8 + pair * 2;
            const float* from = queries + (size_t)query * size + c;
            split(c < size ? from[0] * query_scale : 0, c + 1 < size ? from[1] * query_scale : 0,
                  high + k, low + k);
        }
        query_high[s] = {high[0], high[1], high[2], high[3]};
        query_low[s] = {low[0], low[1], low[2], low[3]};
    }

    float sums[VALUE_TILES][4] = {}, masses[2] = {0, 0}, tops[2] = {NOTHING, NOTHING};
    for (int start = 0; start < padded_keys; start += KEYS) {
        __syncthreads();
        stage(keys + start, (size_t)DEPTH / 2 * padded_keys, padded_keys, DEPTH / 2, KEYS,
              key_words, STRIDE);
        stage(values + (size_t)start / 2 * value_columns + first_channel,
              (size_t)padded_keys / 2 * value_columns, value_columns, KEYS / 2, CHANNELS,
              value_words, VALUE_STRIDE);
        __syncthreads();

        float scores[TILES][4] = {};
#pragma unroll
        for (int s = 0; s < STEPS; s++)
#pragma unroll
            for (int n = 0; n < TILES; n++) {
                const unsigned* high = key_words + (s * 8 + pair) * STRIDE + n * 8 + row;
                const unsigned* low = high + DEPTH / 2 * STRIDE;
                multiply(scores[n], query_high[s], high[0], high[4 * STRIDE]);
                multiply(scores[n], query_low[s], high[0], high[4 * STRIDE]);
                multiply(scores[n], query_high[s], low[0], low[4 * STRIDE]);
            }

        float factors[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {  // of a lane's two queries
            float top = tops[half];
#pragma unroll
            for (int n = 0; n < TILES; n++)
#pragma unroll
                for (int k = 2 * half; k < 2 * half + 2; k++) {
                    const int key = start + n * 8 + pair * 2 + k % 2;
                    scores[n][k] = key < key_count ? scores[n][k] * back : HIDDEN;
                    top = fmaxf(top, scores[n][k]);
                }
            top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 1));
            top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 2));
            factors[half] = exp2f(tops[half] - top);
            tops[half] = top;
            masses[half] *= factors[half];
#pragma unroll
            for (int n = 0; n < TILES; n++)
#pragma unroll
                for (int k = 2 * half; k < 2 * half + 2; k++) {
                    scores[n][k] = exp2f(scores[n][k] - top);
                    masses[half] += scores[n][k];
                }
        }

        uint4 weight_high[KEYS / 16], weight_low[KEYS / 16];
#pragma unroll
        for (int s = 0; s < KEYS / 16; s++) {
            unsigned high[4], low[4];
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const float* two = scores[2 * s + k / 2] + k % 2 * 2;
                split(two[0], two[1], high + k, low + k);
            }
            weight_high[s] = {high[0], high[1], high[2], high[3]};
            weight_low[s] = {low[0], low[1], low[2], low[3]};
        }
        // Tensor cores cut sums off where they should round: these are short, rounded are theirs.
#pragma unroll
        for (int n = 0; n < VALUE_TILES; n++) {
            float some[4] = {};
#pragma unroll
            for (int s = 0; s < KEYS / 16; s++) {
                const unsigned* value = value_words + (s * 8 + pair) * VALUE_STRIDE + n * 8 + row;
                const unsigned* rest = value + KEYS / 2 * VALUE_STRIDE;
                multiply(some, weight_high[s], value[0], value[4 * VALUE_STRIDE]);
                multiply(some, weight_low[s], value[0], value[4 * VALUE_STRIDE]);
                multiply(some, weight_high[s], rest[0], rest[4 * VALUE_STRIDE]);
            }
#pragma unroll
            for (int k = 0; k < 4; k++) sums[n][k] = sums[n][k] * factors[k / 2] + some[k];
        }
    }

    const float unscale = 1 / scale_of(*value_peak);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float mass = masses[half];
        mass += __shfl_xor_sync(0xffffffff, mass, 1);
        mass += __shfl_xor_sync(0xffffffff, mass, 2);
        const int query = first + row + 8 * half;
#pragma unroll
        for (int n = 0; n < VALUE_TILES; n++)
#pragma unroll
            for (int k = 0; k < 2; k++) {
                const int channel = first_channel + n * 8 + pair * 2 + k;
                if (query < count && channel < out_channels)
                    out[(size_t)query * out_channels + channel] =
                        sums[n][2 * half + k] / mass * unscale;
            }
    }
}
