// The non-local operation: weighted sums of values, never all weights at once.
//
// A block takes QUERIES queries and meets keys KEYS at a time. Both halves of the work are matrix
// products whose sums stay in registers: a thread has LINES queries x 4 keys of the scores and
// LINES queries x 4 channels of the result, and reads both factors by fours from shared memory,
// where they lie transposed. Weights change hands there in between.
//
// - The softmax is an online one (Milakov & Gimelshein, arXiv:1805.02867): weights are taken
//   relative to the largest score so far; when that grows, what was summed is scaled down. Scores
//   are in units of log(2).
// - With windows, the queries of a block share the smallest box of keys that holds all their
//   windows, and a key counts for those queries alone whose bounds it is within.
// - Channels are computed CHANNELS at a time, by blocks of their own, which make the weights anew.
// - Bound: d + C multiply-adds for a query and key. 65 536 positions with d = C = 64 are 5.5e11
//   of them, 17.4 ms at the 3.15e13 a second that an H200 was measured to start. Measured: 50 ms.
//   By softmax over all keys, softmax.cu does it on tensor cores instead.

#define SOFTMAX 0
#define LINEAR 1
#define RELU 2

#ifndef FORM
#define FORM SOFTMAX
#define DISTANCE 0  // scores are squared distances, not products
#define WINDOWED 0
#endif

constexpr int QUERIES = 128, KEYS = 64, CHANNELS = 64, THREADS = 256, SLICE = 16, LINES = 8;
constexpr int QUERY_STRIDE = QUERIES + 4, KEY_STRIDE = KEYS + 4;
constexpr float HIDDEN = -1e30f, NOTHING = -1e25f;

// First and last key, along each axis, that a query sees, as (6, QUERIES). The table holds low and
// high for every position of the first axis, then of the others.
__device__ void find_bounds(int query, const int* table, const int* grid, int* bounds) {
    const int place[3] = {query / (grid[1] * grid[2]), query / grid[2] % grid[1], query % grid[2]};
    for (int axis = 0; axis < 3; axis++) {
        bounds[2 * axis * QUERIES] = table[place[axis]];
        bounds[(2 * axis + 1) * QUERIES] = table[grid[axis] + place[axis]];
        table += 2 * grid[axis];
    }
}

extern __shared__ float shared[];

// All matrices are filled up with zeros: `depth` is a multiple of SLICE and `channels` one of
// CHANNELS. Key `key_count` is a filler that counts for nothing.
//
// queries (depth, blocks * QUERIES), in the order of `order`; keys (depth, key_count + 1); values
// (key_count + 1, channels); biases (key_count + 1); out (N, out_channels).
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend(const float* queries, const float* keys, const float* values, const float* biases,
       float* out, const int* order, const int* table, int query_t, int query_y, int query_x,
       int key_t, int key_y, int key_x, int depth, int channels, int out_channels, float scale) {
    const int row = threadIdx.x / 16 * LINES, column = threadIdx.x % 16 * 4;
    const int first_query = blockIdx.x * QUERIES, first_channel = blockIdx.y * CHANNELS;
    const int key_count = key_t * key_y * key_x;
    const size_t query_stride = (size_t)gridDim.x * QUERIES, key_stride = key_count + 1;

    float* const query_planes = shared;                             // (SLICE, QUERY_STRIDE)
    float* const key_planes = query_planes + SLICE * QUERY_STRIDE;  // (SLICE, KEY_STRIDE)
    float* const weights = shared;                                  // (KEYS, QUERY_STRIDE), later
    float* const value_rows = weights + KEYS * QUERY_STRIDE;        // (KEYS, KEY_STRIDE)
    float* const key_biases = value_rows + KEYS * KEY_STRIDE;       // (KEYS)
    int* const key_rows = (int*)(key_biases + KEYS);                // (KEYS)
    int* const key_places = key_rows + KEYS;                        // (3, KEYS)
    int* const bounds = key_places + 3 * KEYS;                      // (6, QUERIES)

    int corner[3] = {0, 0, 0}, sides[3] = {key_t, key_y, key_x};
    if (WINDOWED) {
        const int grid[3] = {query_t, query_y, query_x};
        if (threadIdx.x < QUERIES)
            find_bounds(order[first_query + threadIdx.x], table, grid, bounds + threadIdx.x);
        __syncthreads();
        for (int axis = 0; axis < 3; axis++) {
            const int *lows = bounds + 2 * axis * QUERIES, *highs = lows + QUERIES;
            int low = lows[0], high = highs[0];
            for (int n = 1; n < QUERIES; n++) low = min(low, lows[n]), high = max(high, highs[n]);
            corner[axis] = low;
            sides[axis] = high - low + 1;
        }
    }
    const int seen = sides[0] * sides[1] * sides[2];

    float sums[LINES][4] = {}, masses[LINES], tops[LINES];
#pragma unroll
    for (int q = 0; q < LINES; q++) masses[q] = 0, tops[q] = NOTHING;

    for (int start = 0; start < seen; start += KEYS) {
        __syncthreads();
        if (threadIdx.x < KEYS) {
            const int k = start + threadIdx.x;
            const int t = corner[0] + k / (sides[1] * sides[2]);
            const int y = corner[1] + k / sides[2] % sides[1], x = corner[2] + k % sides[2];
            const int found = k < seen ? (t * key_y + y) * key_x + x : key_count;
            key_rows[threadIdx.x] = found;
            key_biases[threadIdx.x] = biases[found];
            key_places[threadIdx.x] = t;
            key_places[KEYS + threadIdx.x] = y;
            key_places[2 * KEYS + threadIdx.x] = x;
        }
        __syncthreads();
        for (int k = threadIdx.x; k < KEYS * CHANNELS; k += THREADS)
            value_rows[k / CHANNELS * KEY_STRIDE + k % CHANNELS] =
                values[(size_t)key_rows[k / CHANNELS] * channels + first_channel + k % CHANNELS];

        unsigned hidden = 0;  // a bit for each of the thread's scores
        if (WINDOWED)
            for (int n = 0; n < 4 * LINES; n++)
                for (int axis = 0; axis < 3; axis++) {
                    const int place = key_places[axis * KEYS + column + n % 4];
                    const int* low = bounds + 2 * axis * QUERIES + row + n / 4;
                    if (place < low[0] || place > low[QUERIES]) hidden |= 1u << n;
                }

        float scores[LINES][4] = {};
        for (int first = 0; first < depth; first += SLICE) {
            __syncthreads();
            for (int k = threadIdx.x; k < SLICE * QUERIES; k += THREADS)
                query_planes[k / QUERIES * QUERY_STRIDE + k % QUERIES] =
                    queries[(first + k / QUERIES) * query_stride + first_query + k % QUERIES];
            for (int k = threadIdx.x; k < SLICE * KEYS; k += THREADS)
                key_planes[k / KEYS * KEY_STRIDE + k % KEYS] =
                    keys[(first + k / KEYS) * key_stride + key_rows[k % KEYS]];
            __syncthreads();
#pragma unroll
            for (int c = 0; c < SLICE; c++) {
                const float* of_queries = query_planes + c * QUERY_STRIDE + row;
                const float4 a = *(const float4*)of_queries, b = *(const float4*)(of_queries + 4);
                const float4 k = *(const float4*)(key_planes + c * KEY_STRIDE + column);
                const float query[LINES] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
                const float key[4] = {k.x, k.y, k.z, k.w};
#pragma unroll
                for (int q = 0; q < LINES; q++)
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        const float other = DISTANCE ? query[q] - key[j] : query[q];
                        scores[q][j] += other * (DISTANCE ? other : key[j]);
                    }
            }
        }

        __syncthreads();
#pragma unroll
        for (int q = 0; q < LINES; q++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float score = scores[q][j] * scale + key_biases[column + j];
                if (FORM == RELU) score = fmaxf(score, 0.0f);
                if (hidden >> (4 * q + j) & 1) score = FORM == SOFTMAX ? HIDDEN : 0;
                scores[q][j] = score;
            }
            if (FORM == SOFTMAX) {
                float top = tops[q];
#pragma unroll
                for (int j = 0; j < 4; j++) top = fmaxf(top, scores[q][j]);
#pragma unroll
                for (int mask = 1; mask < 16; mask *= 2)
                    top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, mask));
                const float factor = exp2f(tops[q] - top);
                tops[q] = top;
                masses[q] *= factor;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    sums[q][j] *= factor;
                    scores[q][j] = exp2f(scores[q][j] - top);
                    masses[q] += scores[q][j];
                }
            }
        }
#pragma unroll
        for (int k = 0; k < LINES; k++) {
            const int j = k / 2, q = k % 2 * 4;
            const float4 four = {scores[q][j], scores[q + 1][j], scores[q + 2][j],
                                 scores[q + 3][j]};
            *(float4*)(weights + (column + j) * QUERY_STRIDE + row + q) = four;
        }
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < KEYS; k++) {
            const float* of_queries = weights + k * QUERY_STRIDE + row;
            const float4 a = *(const float4*)of_queries, b = *(const float4*)(of_queries + 4);
            const float4 v = *(const float4*)(value_rows + k * KEY_STRIDE + column);
            const float weight[LINES] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
            const float value[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int q = 0; q < LINES; q++)
#pragma unroll
                for (int j = 0; j < 4; j++) sums[q][j] += weight[q] * value[j];
        }
    }

#pragma unroll
    for (int q = 0; q < LINES; q++) {
        float mass = FORM == SOFTMAX ? masses[q] : 1;
        if (FORM == SOFTMAX)
#pragma unroll
            for (int mask = 1; mask < 16; mask *= 2)
                mass += __shfl_xor_sync(0xffffffff, mass, mask);
        const size_t query = order[first_query + row + q];
        for (int j = 0; j < 4; j++) {
            const int channel = first_channel + column + j;
            if (channel < out_channels) out[query * out_channels + channel] = sums[q][j] / mass;
        }
    }
}
