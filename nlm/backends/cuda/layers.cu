// Convolutions of feature maps (channels, Y, X), with zeros beyond the edges, for cards without
// tensor cores; see tensor.cu.
//
// A thread sums up PIXELS neighbouring pixels of two rows for OUTPUTS channels in registers. A
// warp covers 32 pixels x 8 rows of OUTPUTS channels, so that its weights are read once for all of
// it; the WARPS of a block take further channels of the same pixels. Input channels go through
// shared memory, SLICE at a time, with a margin for the taps.
//
// - For each input channel of a 3 x 3 convolution a thread reads 32 numbers and 72 weights for 576
//   multiplications; weights are the same for all lanes and come by fours. So arithmetic should be
//   the limit; an H200 does 18 to 26 TFLOP/s of its 63 (`tests.bench.gpu`).
// - A map is read 1.3 times and written once: 0.3 ms at 4 TB/s for 48 channels of 3 megapixels,
//   where arithmetic takes 2.2.

#ifndef TAPS
#define TAPS 3
#define STEP 1   // reads every STEP-th pixel: 2, with 2 taps, halves the size
#define WARPS 6  // groups of OUTPUTS channels that a block computes
#endif

constexpr int PIXELS = 4, LINES = 2, OUTPUTS = 8, SLICE = 8;
constexpr int TILE_X = 8 * PIXELS, TILE_Y = 4 * LINES;
constexpr int THREADS = 32 * WARPS, CHANNELS = WARPS * OUTPUTS;
constexpr int BEFORE = STEP == 1 ? TAPS / 2 : 0;
constexpr int SPAN_X = (PIXELS - 1) * STEP + TAPS, SPAN_Y = (LINES - 1) * STEP + TAPS;
constexpr int QUADS = (SPAN_X + 3) / 4;  // reads of four numbers that fetch a span
constexpr int IN_X = (TILE_X - 1) * STEP + TAPS, IN_Y = (TILE_Y - 1) * STEP + TAPS;
constexpr int IN_STRIDE = (IN_X + 3) / 4 * 4, IN_PLANE = IN_Y * IN_STRIDE;
constexpr int WEIGHTS = TAPS * TAPS * CHANNELS;  // of one input channel

extern __shared__ float shared[];  // SLICE * (IN_PLANE + WEIGHTS)

// out = convolution of source + bias, times slope where negative, + residual if there is one.
//
// weights: (groups, inputs, TAPS, TAPS, CHANNELS), padded with zeros. The result's pixel (y, x)
// goes to (y * spread + first_y, x * spread + first_x) of `out`.
extern "C" __global__ void __launch_bounds__(THREADS)
convolve(const float* source, const float* weights, const float* bias, const float* residual,
         float* out, int inputs, int outputs, int source_rows, int source_columns, int rows,
         int columns, int out_rows, int out_columns, int spread, int first_y, int first_x,
         float slope, int add_residual) {
    float* const pixels = shared;
    float* const taps = shared + SLICE * IN_PLANE;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int left = blockIdx.x * TILE_X, top = blockIdx.y * TILE_Y, group = blockIdx.z;
    const int x0 = lane % 8 * PIXELS, y0 = lane / 8 * LINES;

    float sums[LINES][PIXELS][OUTPUTS];
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
        const float start = bias[group * CHANNELS + warp * OUTPUTS + o];
#pragma unroll
        for (int k = 0; k < LINES * PIXELS; k++) sums[k / PIXELS][k % PIXELS][o] = start;
    }

    for (int first = 0; first < inputs; first += SLICE) {
        const int count = min(SLICE, inputs - first);
        __syncthreads();
        for (int row = warp; row < count * IN_Y; row += WARPS) {
            const int c = row / IN_Y, line = row % IN_Y, y = top * STEP + line - BEFORE;
            const float* from = source + ((size_t)(first + c) * source_rows + y) * source_columns;
            for (int k = lane; k < IN_X; k += 32) {
                const int x = left * STEP + k - BEFORE;
                const bool inside = y >= 0 && y < source_rows && x >= 0 && x < source_columns;
                pixels[c * IN_PLANE + line * IN_STRIDE + k] = inside ? from[x] : 0;
            }
        }
        const float* all = weights + ((size_t)group * inputs + first) * WEIGHTS;
        for (int k = threadIdx.x; k < count * WEIGHTS; k += THREADS) taps[k] = all[k];
        __syncthreads();
        for (int c = 0; c < count; c++) {
            float seen[SPAN_Y][QUADS * 4];
            const float* here = pixels + c * IN_PLANE + y0 * STEP * IN_STRIDE + x0 * STEP;
#pragma unroll
            for (int k = 0; k < SPAN_Y * QUADS; k++) {
                const int line = k / QUADS, x = k % QUADS * 4;
                const float4 four = *(const float4*)(here + line * IN_STRIDE + x);
                seen[line][x] = four.x, seen[line][x + 1] = four.y;
                seen[line][x + 2] = four.z, seen[line][x + 3] = four.w;
            }
            const float4* of_tap = (const float4*)(taps + c * WEIGHTS + warp * OUTPUTS);
#pragma unroll
            for (int tap = 0; tap < TAPS * TAPS; tap++) {
                const float4 low = of_tap[tap * CHANNELS / 4];
                const float4 high = of_tap[tap * CHANNELS / 4 + 1];
                const float weight[OUTPUTS] = {low.x,  low.y,  low.z,  low.w,
                                               high.x, high.y, high.z, high.w};
#pragma unroll
                for (int k = 0; k < LINES * PIXELS; k++) {
                    const int line = k / PIXELS, pixel = k % PIXELS;
                    const float number = seen[line * STEP + tap / TAPS][pixel * STEP + tap % TAPS];
#pragma unroll
                    for (int o = 0; o < OUTPUTS; o++) sums[line][pixel][o] += number * weight[o];
                }
            }
        }
    }

#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
        const int channel = group * CHANNELS + warp * OUTPUTS + o;
        if (channel >= outputs) break;
#pragma unroll
        for (int k = 0; k < LINES * PIXELS; k++) {
            const int y = top + y0 + k / PIXELS, x = left + x0 + k % PIXELS;
            if (y >= rows || x >= columns) continue;
            const size_t place = ((size_t)channel * out_rows + y * spread + first_y) * out_columns +
                                 x * spread + first_x;
            float sum = sums[k / PIXELS][k % PIXELS][o];
            sum = fmaxf(sum, slope * sum);
            out[place] = add_residual ? sum + residual[place] : sum;
        }
    }
}
