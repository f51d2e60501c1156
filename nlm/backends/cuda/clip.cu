// Non-local means in space and time: one frame averaged with its neighbours, see cpu_nlm_clip.py.
//
// Patches begin at every CELL-th row and column and are CELLS x CELLS cells of CELL x CELL pixels;
// what they are compared with lies anywhere. A block does a tile of CORE_ROWS x CORE cells, which
// has a window of its own in each frame, and visits all frames and offsets twice: first for each
// patch's sum of weights and its largest one, which becomes its own; then every weight, divided by
// its patch's sum, is given to the pixels that the patch covers. Nothing but the result goes to
// global memory: weights are made anew the second time. GROUP neighbouring offsets in x are taken
// together and share what they load, and each goes through these steps, with barriers between:
//
//   cells   squared differences, summed over cells
//   across  summed over the width of patches
//   down    summed over their height: a weight
//   cover   shares of the patches that cover a cell, summed down
//   give    and along: the pixels' weights
//
// - Frames are stored with a margin, in units of the noise, the columns of a row by their place in
//   a cell: pixel (y, x) of a channel at y * CELL * span + x % CELL * span + x / CELL. So threads
//   of neighbouring cells read neighbouring words.
// - Bound: 2 instructions for each pixel, channel and offset to compare, twice, and one to give.
//   1080p yuv420p with 5 frames, windows of 5 x 5 for luma and 7 x 7 for chroma, are 2.6e8 + 3.8e8
//   of these, 3e9 instructions: 0.1 ms where 132 multiprocessors start 128 a cycle at 1.7 GHz
//   (derived, not measured).

#ifndef CELL
#define CELL 3
#define CELLS 3
#define CORE_ROWS 16
#define LENGTH 32   // cells of a tile's row with those beside it
#define FEATURES 1  // channels that are compared
#define VALUES 1    // the last of them, which are averaged
#define GROUP 5
#endif

constexpr int THREADS = 512, EDGE = CELLS - 1, CORE = LENGTH - 2 * EDGE;
constexpr int ROWS = CORE_ROWS + 2 * EDGE;  // of cells that are compared
constexpr int PATCH_ROWS = CORE_ROWS + EDGE, PATCH_COLUMNS = CORE + EDGE;
constexpr int COMPARED = ROWS * LENGTH, JOINED = ROWS * PATCH_COLUMNS;
constexpr int PATCHES = PATCH_ROWS * PATCH_COLUMNS, COVERED = CORE_ROWS * PATCH_COLUMNS;
constexpr int OWN_PATCHES = (PATCHES + THREADS - 1) / THREADS;
constexpr int OWN_CELLS = (CORE_ROWS * CORE + THREADS - 1) / THREADS;
constexpr int SEEN = CELL + GROUP - 1;  // columns that a cell meets in a group of offsets

struct Frames {
    const float* pixels;
    int span, plane;  // cells in a row of a channel, words of a channel

    // Where the cell of column x lies, x being the same for all threads but for whole cells.
    __device__ int column(int x) const { return x % CELL * span + x / CELL; }
};

// Squared differences of the cells of a tile from those at GROUP offsets.
__device__ void compare(const Frames& frames, const float* mine, const float* theirs, int column,
                        float* sums) {
    for (int k = threadIdx.x; k < COMPARED; k += THREADS) {
        const int at = k / LENGTH * CELL * CELL * frames.span + k % LENGTH;
        float totals[GROUP] = {};
        for (int c = 0; c < FEATURES; c++)
#pragma unroll
            for (int q = 0; q < CELL; q++) {
                const int row = c * frames.plane + q * CELL * frames.span + at;
                float others[SEEN];
#pragma unroll
                for (int u = 0; u < SEEN; u++) others[u] = theirs[row + frames.column(column + u)];
#pragma unroll
                for (int p = 0; p < CELL; p++) {
                    const float here = mine[row + p * frames.span];
#pragma unroll
                    for (int g = 0; g < GROUP; g++) {
                        const float d = here - others[p + g];
                        totals[g] += d * d;
                    }
                }
            }
#pragma unroll
        for (int g = 0; g < GROUP; g++) sums[g * COMPARED + k] = totals[g];
    }
}

// Sums of CELLS numbers that lie `step` apart.
__device__ float sum(const float* numbers, int step) {
    float total = numbers[0];
    for (int n = 1; n < CELLS; n++) total += numbers[n * step];
    return total;
}

// The same from each cell of a row on.
__device__ void join(const float* sums, float* joined) {
    for (int k = threadIdx.x; k < GROUP * JOINED; k += THREADS)
        joined[k] = sum(sums + k / PATCH_COLUMNS * LENGTH + k % PATCH_COLUMNS, 1);
}

struct Weights {
    float scale, bias;
    int side;

    // Of a patch at an offset of the group; none beyond the window, and none of a patch for itself.
    __device__ float operator()(const float* joined, int patch, int g, int dx, bool own) const {
        const float s = sum(joined + g * JOINED + patch, PATCH_COLUMNS);
        const bool counts = dx + g < side && !(own && dx + g == side / 2);
        return counts ? exp2f(fminf(s * scale + bias, 0.0f)) : 0.0f;
    }
};

// Shares of the patches that cover each cell of a column, from GROUP or 1 sets of them.
__device__ void cover(const float* shares, float* covering, int sets) {
    for (int k = threadIdx.x; k < sets * COVERED; k += THREADS)
        covering[k] = sum(shares + k / COVERED * PATCHES + k % COVERED, PATCH_COLUMNS);
}

extern __shared__ float shared[];

// frames: (slots, FEATURES, plane); slots: (count) of them, the denoised one first; moves: (count,
// tiles, 2), rows and columns; factors: (VALUES), what takes values back from units of the noise;
// out: (height, width, VALUES).
extern "C" __global__ void __launch_bounds__(THREADS, 1)
average(const float* frames, const float* factors, const int* slots, const int* moves, float* out,
        int count, int radius, int span, int plane, int height, int width, int margin,
        float scale, float bias, float self_floor) {
    const int tile = blockIdx.y * gridDim.x + blockIdx.x, tiles = gridDim.x * gridDim.y;
    const int top = blockIdx.y * CORE_ROWS * CELL, left = blockIdx.x * CORE * CELL;
    const Frames place = {frames, span, plane};
    const int row = CELL * span;  // words of a row of pixels
    const int first_row = margin + top - EDGE * CELL, first_column = margin + left - EDGE * CELL;
    const float* const mine = frames + (size_t)slots[0] * FEATURES * plane + first_row * row +
                              first_column / CELL;
    const Weights weigh = {scale, bias, 2 * radius + 1};

    float* const sums = shared;                      // (GROUP, ROWS, LENGTH)
    float* const joined = sums + GROUP * COMPARED;   // (GROUP, ROWS, PATCH_COLUMNS)
    float* const shares = sums;                      // (GROUP, PATCH_ROWS, PATCH_COLUMNS), later
    float* const covering = joined;                  // (GROUP, CORE_ROWS, PATCH_COLUMNS), later

    float mass[OWN_PATCHES], largest[OWN_PATCHES];
#pragma unroll
    for (int n = 0; n < OWN_PATCHES; n++) mass[n] = 0, largest[n] = self_floor;
    float numerators[OWN_CELLS][VALUES][CELL][CELL], denominators[OWN_CELLS];

    for (int visit = 0; visit < 2; visit++) {
        if (visit == 1) {  // begin with what patches say by themselves
            __syncthreads();
#pragma unroll
            for (int n = 0; n < OWN_PATCHES; n++) {
                const int patch = threadIdx.x + n * THREADS;
                mass[n] = 1 / (mass[n] + largest[n]);
                if (patch < PATCHES) shares[patch] = largest[n] * mass[n];
            }
            __syncthreads();
            cover(shares, covering, 1);
            __syncthreads();
#pragma unroll
            for (int n = 0; n < OWN_CELLS; n++) {
                const int cell = threadIdx.x + n * THREADS, y = cell / CORE, x = cell % CORE;
                const bool inside = cell < CORE_ROWS * CORE;
                const float w = inside ? sum(covering + y * PATCH_COLUMNS + x, 1) : 0;
                denominators[n] = w;
                const float* pixels = mine + (FEATURES - VALUES) * plane +
                                      (y + EDGE) * CELL * row + x + EDGE;
#pragma unroll
                for (int c = 0; c < VALUES; c++)
#pragma unroll
                    for (int k = 0; k < CELL * CELL; k++)
                        numerators[n][c][k / CELL][k % CELL] =
                            inside ? w * pixels[c * plane + k / CELL * row + k % CELL * span] : 0;
            }
        }
        for (int frame = 0; frame < count; frame++) {
            const int move = (frame * tiles + tile) * 2;
            const float* const theirs = frames + (size_t)slots[frame] * FEATURES * plane +
                                        (first_row + moves[move] - radius) * row;
            for (int dy = 0; dy < weigh.side; dy++)
                for (int dx = 0; dx < weigh.side; dx += GROUP) {
                    const int column = first_column + moves[move + 1] - radius + dx;
                    const bool own = frame == 0 && dy == radius;
                    compare(place, mine, theirs + dy * row, column, sums);
                    __syncthreads();
                    join(sums, joined);
                    __syncthreads();
#pragma unroll
                    for (int n = 0; n < OWN_PATCHES; n++) {
                        const int patch = threadIdx.x + n * THREADS;
                        if (patch >= PATCHES) break;
#pragma unroll
                        for (int g = 0; g < GROUP; g++) {
                            const float w = weigh(joined, patch, g, dx, own);
                            if (visit == 1) {
                                shares[g * PATCHES + patch] = w * mass[n];
                                continue;
                            }
                            mass[n] += w;
                            largest[n] = fmaxf(largest[n], w);
                        }
                    }
                    if (visit == 0) continue;
                    __syncthreads();
                    cover(shares, covering, GROUP);
                    __syncthreads();
#pragma unroll
                    for (int n = 0; n < OWN_CELLS; n++) {
                        const int cell = threadIdx.x + n * THREADS, y = cell / CORE;
                        const int x = cell % CORE;
                        if (cell >= CORE_ROWS * CORE) break;
                        float w[GROUP];
#pragma unroll
                        for (int g = 0; g < GROUP; g++) {
                            w[g] = sum(covering + g * COVERED + y * PATCH_COLUMNS + x, 1);
                            denominators[n] += w[g];
                        }
                        const float* pixels = theirs + (FEATURES - VALUES) * plane +
                                              ((y + EDGE) * CELL + dy) * row + x + EDGE;
#pragma unroll
                        for (int c = 0; c < VALUES; c++)
#pragma unroll
                            for (int q = 0; q < CELL; q++) {
                                float others[SEEN];
#pragma unroll
                                for (int u = 0; u < SEEN; u++)
                                    others[u] = pixels[c * plane + q * row +
                                                       place.column(column + u)];
#pragma unroll
                                for (int p = 0; p < CELL; p++)
#pragma unroll
                                    for (int g = 0; g < GROUP; g++)
                                        numerators[n][c][q][p] += w[g] * others[p + g];
                            }
                    }
                }
        }
    }

#pragma unroll
    for (int n = 0; n < OWN_CELLS; n++) {
        const int cell = threadIdx.x + n * THREADS;
#pragma unroll
        for (int k = 0; k < CELL * CELL; k++) {
            const int y = top + cell / CORE * CELL + k / CELL;
            const int x = left + cell % CORE * CELL + k % CELL;
            if (cell >= CORE_ROWS * CORE || y >= height || x >= width) continue;
#pragma unroll
            for (int c = 0; c < VALUES; c++)
                out[((size_t)y * width + x) * VALUES + c] =
                    numerators[n][c][k / CELL][k % CELL] / denominators[n] * factors[c];
        }
    }
}

// A position in an axis of `size` that is continued by reflection.
__device__ int reflect(int position, int size) {
    if (size == 1) return 0;
    while (position < 0 || position >= size)
        position = position < 0 ? -position : 2 * size - 2 - position;
    return position;
}

// Put a channel of a picture (height, width, channels) where `average` finds it.
extern "C" __global__ void arrange(const float* image, float* arranged, int height, int width,
                                   int channels, int channel, int rows, int span, int margin,
                                   int start, float factor) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= span * CELL) return;
    const int from_y = reflect(y - margin, height), from_x = reflect(x - margin, width);
    arranged[start + (size_t)y * CELL * span + x % CELL * span + x / CELL] =
        image[((size_t)from_y * width + from_x) * channels + channel] * factor;
}
