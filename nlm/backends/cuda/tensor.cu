// Convolutions of feature maps (channels, Y, X), with zeros beyond the edges, on tensor cores.
//
// A convolution is a matrix product: weights (outputs, inputs x taps) times shifted pixels. Tensor
// cores multiply half-precision numbers, so each number is split in two halves, x = high + low,
// which together hold 22 bits of it, and three products are summed in float32: high high, high low
// and low high. What is left out is of the size of float32's own rounding. With PRODUCTS 1 the
// first product alone is computed: half precision.
//
// Halves hold no number above 65504. So a map comes with its peak, the largest absolute value in
// it, and is multiplied by a power of two that takes this to TOP bits.
//
// A block computes M_WARPS * M_TILES tiles of 16 channels for TILE_Y x TILE_X pixels. Input
// channels go through shared memory 16 at a time, as pairs in one word, with a margin for the taps;
// weights lie in global memory as the fragments that a warp's lanes hold, and are read from L1.
//
// - Bound: 48 channels to 48 at 3 megapixels are 6.2e10 multiply-adds and 1.9e11 of halves: 0.4 ms
//   at the data sheet's 2048 a cycle of a multiprocessor of compute capability 9.0, 132 of them at
//   1.8 GHz, of which `mma` is said to reach six tenths (derived, not measured). Float32 itself
//   takes 2.0 ms at the 3.15e13 a second that an H200 was measured to start.

#ifndef TAPS
#define TAPS 3
#define STEP 1      // reads every STEP-th pixel: 2, with 2 taps, halves the size
#define M_WARPS 1
#define M_TILES 3   // tiles of 16 channels of a warp
#define N_WARPS 8
#define N_TILES 4   // tiles of 8 pixels of a warp: 4 are a line of TILE_X
#define PRODUCTS 3
#define BLOCKS 2    // that should share a multiprocessor
#define UNROLL 1    // taps whose weights are read ahead
#endif

constexpr int TILE_X = 32, LINES = N_TILES / 4, TILE_Y = N_WARPS * LINES;
constexpr int THREADS = 32 * M_WARPS * N_WARPS, PAIRS = 8, TOP = 8;
constexpr int TAPS_AHEAD = UNROLL;
constexpr int BEFORE = STEP == 1 ? TAPS / 2 : 0;
constexpr int IN_X = (TILE_X - 1) * STEP + TAPS, IN_Y = (TILE_Y - 1) * STEP + TAPS;
constexpr int IN_PIXELS = IN_X * IN_Y;
constexpr int PLANE = (IN_PIXELS + 23) / 32 * 32 + 8;  // 8 mod 32: four planes, no bank twice

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

extern __shared__ float shared[];  // 2 * PAIRS * PLANE

// out = convolution of source + bias, times slope where negative, + residual if there is one.
//
// weights: (groups, slices of 16 inputs, TAPS, TAPS, M_WARPS * M_TILES, 2, 32), padded with zeros:
// high and low halves of the 8 numbers that a lane holds of a 16 x 16 matrix, multiplied by
// 1 / unscale. The result's pixel (y, x) goes to (y * spread + first_y, x * spread + first_x).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
convolve(const float* __restrict__ source, const uint4* __restrict__ weights,
         const float* __restrict__ bias, const float* residual, float* out,
         const unsigned* source_peak, unsigned* out_peak, int inputs, int outputs, int source_rows,
         int source_columns, int rows, int columns, int out_rows, int out_columns, int spread,
         int first_y, int first_x, float slope, int add_residual, float unscale) {
    unsigned* const highs = (unsigned*)shared;
    unsigned* const lows = highs + PAIRS * PLANE;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int m_first = warp % M_WARPS * M_TILES, line = warp / M_WARPS * LINES;
    const int left = blockIdx.x * TILE_X, top = blockIdx.y * TILE_Y, group = blockIdx.z;
    const int slices = (inputs + 15) / 16;
    const unsigned exponent = max((int)(*source_peak >> 23), TOP + 1);
    const float scale = __uint_as_float((254 + TOP - exponent) << 23);
    const float back = __uint_as_float((exponent - TOP) << 23) * unscale;

    float sums[M_TILES][N_TILES][4] = {};
    for (int slice = 0; slice < slices; slice++) {
        __syncthreads();
        for (int k = threadIdx.x; k < PAIRS * IN_PIXELS; k += THREADS) {
            const int pair = k / IN_PIXELS, pixel = k % IN_PIXELS, c = slice * 16 + 2 * pair;
            const int y = top * STEP + pixel / IN_X - BEFORE;
            const int x = left * STEP + pixel % IN_X - BEFORE;
            const bool inside = y >= 0 && y < source_rows && x >= 0 && x < source_columns;
            const float* from = source + ((size_t)c * source_rows + y) * source_columns + x;
            const float one = inside && c < inputs ? *from * scale : 0;
            const float other =
                inside && c + 1 < inputs ? from[(size_t)source_rows * source_columns] * scale : 0;
            const unsigned high = pack(one, other);
            highs[pair * PLANE + pixel] = high;
            if (PRODUCTS > 1) {
                float a, b;
                unpack(high, a, b);
                lows[pair * PLANE + pixel] = pack(one - a, other - b);
            }
        }
        __syncthreads();
        const uint4* of_slice = weights + lane +
            (size_t)(group * slices + slice) * (TAPS * TAPS * M_WARPS * M_TILES * 64) +
            m_first * 64;
        const int seen = lane % 4 * PLANE + line * STEP * IN_X + lane / 4 * STEP;
#pragma unroll TAPS_AHEAD
        for (int tap = 0; tap < TAPS * TAPS; tap++) {
            uint4 high[M_TILES], low[M_TILES];
#pragma unroll
            for (int m = 0; m < M_TILES; m++) {
                high[m] = of_slice[(tap * M_WARPS * M_TILES + m) * 64];
                if (PRODUCTS > 1) low[m] = of_slice[(tap * M_WARPS * M_TILES + m) * 64 + 32];
            }
#pragma unroll
            for (int n = 0; n < N_TILES; n++) {
                const int at = seen + (n / 4 * STEP + tap / TAPS) * IN_X + n % 4 * 8 * STEP +
                               tap % TAPS;
                const unsigned b0 = highs[at], b1 = highs[at + 4 * PLANE];
#pragma unroll
                for (int m = 0; m < M_TILES; m++) multiply(sums[m][n], high[m], b0, b1);
                if (PRODUCTS > 1) {
                    const unsigned c0 = lows[at], c1 = lows[at + 4 * PLANE];
#pragma unroll
                    for (int m = 0; m < M_TILES; m++) multiply(sums[m][n], low[m], b0, b1);
#pragma unroll
                    for (int m = 0; m < M_TILES; m++) multiply(sums[m][n], high[m], c0, c1);
                }
            }
        }
    }

    float peak = 0;
#pragma unroll
    for (int m = 0; m < M_TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int channel = ((group * M_WARPS * M_TILES) + m_first + m) * 16 + half * 8 +
                                lane / 4;
            if (channel >= outputs) continue;
            const float start = bias[channel];
#pragma unroll
            for (int n = 0; n < N_TILES; n++)
#pragma unroll
                for (int k = 0; k < 2; k++) {
                    const int y = top + line + n / 4;
                    const int x = left + n % 4 * 8 + lane % 4 * 2 + k;
                    if (y >= rows || x >= columns) continue;
                    const size_t place =
                        ((size_t)channel * out_rows + y * spread + first_y) * out_columns +
                        x * spread + first_x;
                    float sum = sums[m][n][2 * half + k] * back + start;
                    sum = fmaxf(sum, slope * sum);
                    if (add_residual) sum += residual[place];
                    peak = fmaxf(peak, fabsf(sum));
                    out[place] = sum;
                }
        }
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2)
        peak = fmaxf(peak, __shfl_xor_sync(0xffffffff, peak, mask));
    if (lane == 0) atomicMax(out_peak, __float_as_uint(peak));
}
