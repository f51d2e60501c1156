// The windowed non-local block of a network: softmax-weighted means of nearby values.
//
// A block takes SIDE x SIDE queries and meets the keys of all their windows, KEYS at a time, in
// every map after the other. Both halves of the work are matrix products whose sums stay in
// registers: a thread has 4 queries x 4 keys of the scores and 4 queries x PER channels of the
// result. Weights change hands between them in shared memory; the softmax is an online one (Milakov
// & Gimelshein, arXiv:1805.02867), in powers of two.
//
// - Bound: 2 instructions for each channel of a query and key by distance, 1 by product, and 1 for
//   each channel of a value. Tiles of 8 x 8 queries meet 24 x 24 keys with windows of 17 x 17, so
//   0.75 megapixels of 32 channels take 4.1e10 of these: 1.4 ms where 132 multiprocessors start
//   128 a cycle at 1.7 GHz (derived, not measured).

#ifndef DEPTH
#define DEPTH 32    // channels of queries, keys and values, rounded up to a multiple of 16
#define DISTANCE 1  // scores are -|q - k|^2, otherwise q . k
#endif

constexpr int SIDE = 8, QUERIES = SIDE * SIDE, KEYS = 64, THREADS = 256, PER = DEPTH / 16;
constexpr int STRIDE = QUERIES + 4, VALUE_STRIDE = DEPTH + 1;
constexpr float HIDDEN = -1e30f, NOTHING = -1e25f, LOG2_E = 1.44269504f;

extern __shared__ float shared[];

// queries: (channels, rows, columns); keys: (maps, 2, channels, rows, columns), keys and values;
// out: (channels, rows, columns).
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend(const float* queries, const float* keys, float* out, int maps, int channels, int rows,
       int columns, int radius) {
    float* const query_planes = shared;                         // (DEPTH, STRIDE)
    float* const key_planes = query_planes + DEPTH * STRIDE;    // (DEPTH, STRIDE)
    float* const weights = key_planes + DEPTH * STRIDE;         // (KEYS, STRIDE)
    float* const value_rows = weights + KEYS * STRIDE;          // (KEYS, VALUE_STRIDE)
    int* const key_places = (int*)(value_rows + KEYS * VALUE_STRIDE);  // (2, KEYS)
    const int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
    const int top = blockIdx.y * SIDE, left = blockIdx.x * SIDE;
    const size_t plane = (size_t)rows * columns;
    // the smallest box of keys that holds all windows
    const int box_y = max(top - radius, 0), box_x = max(left - radius, 0);
    const int box_rows = min(top + SIDE + radius, rows) - box_y;
    const int box_columns = min(left + SIDE + radius, columns) - box_x;
    const int seen = box_rows * box_columns;

    for (int k = threadIdx.x; k < DEPTH * QUERIES; k += THREADS) {
        const int c = k / QUERIES, q = k % QUERIES;
        const int y = min(top + q / SIDE, rows - 1), x = min(left + q % SIDE, columns - 1);
        query_planes[c * STRIDE + q] =
            c < channels ? queries[c * plane + (size_t)y * columns + x] : 0;
    }

    float sums[4][PER] = {}, masses[4], tops[4];
    int query_y[4], query_x[4];
#pragma unroll
    for (int q = 0; q < 4; q++) {
        masses[q] = 0, tops[q] = NOTHING;
        query_y[q] = min(top + (row + q) / SIDE, rows - 1);
        query_x[q] = min(left + (row + q) % SIDE, columns - 1);
    }

    for (int map = 0; map < maps; map++)
        for (int start = 0; start < seen; start += KEYS) {
            const float* of_map = keys + (size_t)map * 2 * channels * plane;
            __syncthreads();
            const int n = threadIdx.x % KEYS, at = start + n;  // a thread stages one key
            const int y = box_y + at / box_columns, x = box_x + at % box_columns;
            const float* from = of_map + (size_t)y * columns + x;
            for (int c = threadIdx.x / KEYS; c < DEPTH; c += THREADS / KEYS) {
                const bool given = c < channels && at < seen;
                key_planes[c * STRIDE + n] = given ? from[c * plane] : 0;
                value_rows[n * VALUE_STRIDE + c] = given ? from[(channels + c) * plane] : 0;
            }
            if (threadIdx.x < KEYS) {
                key_places[n] = at < seen ? y : -2 * radius - SIDE;
                key_places[KEYS + n] = x;
            }
            __syncthreads();

            float scores[4][4] = {};
#pragma unroll 4
            for (int c = 0; c < DEPTH; c++) {
                const float4 q4 = *(const float4*)(query_planes + c * STRIDE + row);
                const float4 k4 = *(const float4*)(key_planes + c * STRIDE + column);
                const float query[4] = {q4.x, q4.y, q4.z, q4.w};
                const float key[4] = {k4.x, k4.y, k4.z, k4.w};
#pragma unroll
                for (int q = 0; q < 4; q++)
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        const float d = query[q] - key[j];
                        scores[q][j] += DISTANCE ? -d * d : query[q] * key[j];
                    }
            }
#pragma unroll
            for (int q = 0; q < 4; q++) {
                float top_score = tops[q];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const int y = key_places[column + j] - query_y[q];
                    const int x = key_places[KEYS + column + j] - query_x[q];
                    const bool hidden = abs(y) > radius || abs(x) > radius;
                    scores[q][j] = hidden ? HIDDEN : scores[q][j] * LOG2_E;
                    top_score = fmaxf(top_score, scores[q][j]);
                }
#pragma unroll
                for (int mask = 1; mask < 16; mask *= 2)
                    top_score = fmaxf(top_score, __shfl_xor_sync(0xffffffff, top_score, mask));
                const float factor = exp2f(tops[q] - top_score);
                tops[q] = top_score;
                masses[q] *= factor;
#pragma unroll
                for (int n = 0; n < PER; n++) sums[q][n] *= factor;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    scores[q][j] = exp2f(scores[q][j] - top_score);
                    masses[q] += scores[q][j];
                }
            }
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float4 four = {scores[0][j], scores[1][j], scores[2][j], scores[3][j]};
                *(float4*)(weights + (column + j) * STRIDE + row) = four;
            }
            __syncthreads();
#pragma unroll 4
            for (int k = 0; k < KEYS; k++) {
                const float4 w4 = *(const float4*)(weights + k * STRIDE + row);
                const float weight[4] = {w4.x, w4.y, w4.z, w4.w};
#pragma unroll
                for (int n = 0; n < PER; n++) {
                    const float value = value_rows[k * VALUE_STRIDE + n * 16 + threadIdx.x % 16];
#pragma unroll
                    for (int q = 0; q < 4; q++) sums[q][n] += weight[q] * value;
                }
            }
        }

#pragma unroll
    for (int q = 0; q < 4; q++) {
        float mass = masses[q];
#pragma unroll
        for (int mask = 1; mask < 16; mask *= 2) mass += __shfl_xor_sync(0xffffffff, mass, mask);
        const int y = top + (row + q) / SIDE, x = left + (row + q) % SIDE;
#pragma unroll
        for (int n = 0; n < PER; n++) {
            const int channel = n * 16 + threadIdx.x % 16;
            if (channel < channels && y < rows && x < columns)
                out[channel * plane + (size_t)y * columns + x] = sums[q][n] / mass;
        }
    }
}
