// Non-local means: one visit to every pair of patches in a search window.
//
// A block makes the weights of a tile of ROWS x WEIGHTS patches, for GROUP rows of offsets at a
// time, and goes through three steps for each offset, with a barrier between them:
//
//   down    thread = column: squared differences, summed over the patch's rows as the thread walks
//           down; what enters the next of the GROUP offsets is the same pixel, read once.
//   across  thread = row: those sums, summed over the patch's columns as the thread walks along,
//           become weights; aggregated weights are summed again over the patch's columns.
//   gather  thread = column: aggregated weights are summed over the patch's rows; the values of
//           the other pixels times their weights go to sums that stay in registers.
//
// - All sums over patches are of integers: of the 23 bits that stand in the mantissa when a power
//   of two, the unit, is added. So they are exact: nothing drifts, and what a block computes does
//   not depend on where it begins.
// - Both directions of a pair are computed. To share a weight, a block would have to make those of
//   its neighbours' pixels too or pass them through memory; and what limits this kernel is less
//   the arithmetic than the words that go through shared memory.
// - Bound: 17 instructions for each pixel and offset in colour (6 for the difference, 4 for the
//   box, 3 for the weight, 4 to gather). 12 megapixels and 440 offsets are 9.0e10 of them: 2.85 ms
//   at the 3.15e13 a second that an H200 was measured to start. Here, patches of 7 x 7 take 9.8
//   words of shared memory for each pixel and offset when GROUP is 3 (down 3.75 and 1, across 1.8
//   and 1, gather 1 and 1.25), 10.8 with the tile's margin (58 of 64 columns): 7.5 ms at 32 a
//   cycle, derived, not measured. With a GROUP of 2 it is 13.7 words and 10 ms, and was measured at
//   11.6 ms (`tests.bench.gpu`): shared memory is what limits this kernel.
//
// Forms: pixelwise gives the average itself. Patch sums give, for each patch, one over the root of
// its sum of weights, and the weight of the patch for itself as a share of that sum. Patchwise
// gives the average over all patches that cover a pixel, from these (cpu_nlm.py).

#define PIXELWISE 0
#define PATCH_SUMS 1
#define PATCHWISE 2

#ifndef FORM
#define FORM PIXELWISE
#define FEATURES 3  // channels in which patches are compared
#define VALUES 3    // channels that are averaged
#define GUIDED 0    // the values are another picture than the features
#define HALF_Y 3
#define HALF_X 3
#define COLUMNS 64  // of patches' sums
#define GROUP 3     // rows of offsets that are taken together
#endif

constexpr int ROWS = 32, THREADS = 256, WARPS = THREADS / 32;
constexpr int PATCH_Y = 2 * HALF_Y + 1;
constexpr int REACH_Y = FORM == PATCHWISE ? HALF_Y : 0, REACH_X = FORM == PATCHWISE ? HALF_X : 0;
constexpr int OUT_ROWS = ROWS - 2 * REACH_Y, OUT_COLUMNS = COLUMNS - 2 * (HALF_X + REACH_X);

constexpr int STRIPS = THREADS / COLUMNS;  // that a tile's rows are cut into for walks down
constexpr int STRIP = ROWS / STRIPS, DEPTH = (OUT_ROWS + STRIPS - 1) / STRIPS;
constexpr int RUN = (OUT_COLUMNS + WARPS - 1) / WARPS;  // columns of one walk across
constexpr int FIELD_ROWS = STRIPS * DEPTH + 2 * REACH_Y;
constexpr int FIELD_STRIDE = (WARPS * RUN + 2 * (HALF_X + REACH_X)) | 1;  // odd: no bank twice
constexpr int FIELD = FIELD_ROWS * FIELD_STRIDE;

constexpr bool IN_PLACE = GROUP > 2;  // weights lie where their sums were: room, for two barriers

constexpr int OWN_ROWS = ROWS + 2 * HALF_Y, OTHER_ROWS = OWN_ROWS + GROUP - 1;
constexpr int OWN_PLANE = OWN_ROWS * COLUMNS;
constexpr int WORTH_PLANE = FEATURES, VALUE_PLANE = GUIDED ? FEATURES + (FORM == PATCHWISE) : 0;

struct Picture {
    const float* pixels;  // (height, width, channels)
    int height, width, channels;
};

// A position in an axis of `size` that is continued by reflection.
__device__ int reflect(int position, int size) {
    if (size == 1) return 0;
    while (position < 0 || position >= size)
        position = position < 0 ? -position : 2 * size - 2 - position;
    return position;
}

// Copy channels of a window into planes of shared memory.
__device__ void stage(const Picture& picture, int channels, int top, int left, int rows,
                      int columns, float* planes, int stride, int plane) {
    for (int y = threadIdx.x / 32; y < rows; y += WARPS) {
        size_t row = (size_t)reflect(top + y, picture.height) * picture.width;
        for (int x = threadIdx.x % 32; x < columns; x += 32) {
            size_t pixel = (row + reflect(left + x, picture.width)) * picture.channels;
            for (int c = 0; c < channels; c++)
                planes[c * plane + y * stride + x] = picture.pixels[pixel + c];
        }
    }
}

// The bits of the squared difference of two pixels over all channels, capped, plus the unit.
__device__ unsigned difference(const float* mine, const float* theirs, float unit, float cap) {
    float sum = unit;
    for (int c = 0; c < FEATURES; c++) {
        float d = mine[c] - theirs[c];
        sum = d * d + sum;
    }
    return __float_as_uint(fminf(sum, cap));
}

// Differences of a column of pixels from those at GROUP rows of offsets, summed over patches' rows.
__device__ void down(const float* own, const float* other, int other_stride, int other_plane,
                     unsigned* field, float unit, float cap) {
    constexpr int LENGTH = STRIP + 2 * HALF_Y;
    float mine[LENGTH][FEATURES];
    unsigned differences[GROUP][LENGTH], sums[GROUP];
#pragma unroll
    for (int g = 0; g < GROUP; g++) sums[g] = 0u - PATCH_Y * __float_as_uint(unit);
#pragma unroll
    for (int y = 0; y < LENGTH + GROUP - 1; y++) {
        float theirs[FEATURES];
#pragma unroll
        for (int c = 0; c < FEATURES; c++) {
            theirs[c] = other[c * other_plane + y * other_stride];
            if (y < LENGTH) mine[y][c] = own[c * OWN_PLANE + y * COLUMNS];
        }
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            int i = y - g, first = i - PATCH_Y;
            if (i < 0 || i >= LENGTH) continue;
            differences[g][i] = difference(mine[i], theirs, unit, cap);
            sums[g] += differences[g][i] - (first < 0 ? 0 : differences[g][first]);
            if (i >= 2 * HALF_Y) field[g * FIELD + (i - 2 * HALF_Y) * FIELD_STRIDE] = sums[g];
        }
    }
}

// From a row of columns' sums to weights, box-summed where they are to be aggregated.
__device__ void across(const unsigned* columns, unsigned* weights, const float* worth_of_mine,
                       const float* worth_of_theirs, float scale, float bias, float weight_unit) {
    constexpr int LENGTH = RUN + 2 * REACH_X;
    unsigned entered[LENGTH + 2 * HALF_X], bits[LENGTH];  // weights: (RUN)
    unsigned box = 0, sum = 0u - (2 * REACH_X + 1) * __float_as_uint(weight_unit);
#pragma unroll
    for (int x = 0; x < LENGTH + 2 * HALF_X; x++) {
        int i = x - 2 * HALF_X, k = i - 2 * REACH_X;
        entered[x] = columns[x];
        box += entered[x] - (i <= 0 ? 0 : entered[i - 1]);
        if (i < 0) continue;
        float weight = exp2f(fminf((int)box * scale + bias, 0.0f));
        if (FORM == PATCHWISE) weight *= worth_of_mine[i] * worth_of_theirs[i];
        bits[i] = __float_as_uint(weight + weight_unit);
        sum += bits[i] - (k <= 0 ? 0 : bits[k - 1]);
        if (k >= 0) weights[k] = sum;
    }
}

// The weights of a column, box-summed where they are to be aggregated.
__device__ void total(const unsigned* weights, float* totals) {
    unsigned entered[DEPTH + 2 * REACH_Y], sum = 0;
#pragma unroll
    for (int y = 0; y < DEPTH + 2 * REACH_Y; y++) {
        int k = y - 2 * REACH_Y;
        entered[y] = weights[y * FIELD_STRIDE];
        sum += entered[y] - (k <= 0 ? 0 : entered[k - 1]);
        if (k >= 0) totals[k] = (int)sum;
    }
}

extern __shared__ float shared[];

extern "C" __global__ void __launch_bounds__(THREADS, 2)
average(const float* features, const float* values, const float* patches, float* out, int height,
        int width, int radius_y, int radius_x, int chunk, float scale, float bias, float unit,
        float cap, float weight_unit, float weight_scale, float self_weight, float self_floor) {
    const int lane = threadIdx.x % 32, run = threadIdx.x / 32 * RUN;
    const int column = threadIdx.x % COLUMNS, strip = threadIdx.x / COLUMNS;
    const int top = blockIdx.y * OUT_ROWS - REACH_Y, left = blockIdx.x * OUT_COLUMNS - REACH_X;
    const int other_stride = (COLUMNS + chunk - 1) | 1, other_plane = OTHER_ROWS * other_stride;
    const Picture feature_picture = {features, height, width, FEATURES};
    const Picture value_picture = {values, height, width, VALUES};
    const Picture patch_picture = {patches, height, width, 2};

    unsigned* const columns = (unsigned*)shared;
    unsigned* const weights = columns + (IN_PLACE ? 0 : GROUP * FIELD);
    float* const own = (float*)(weights + GROUP * FIELD);
    float* const other = own + FEATURES * OWN_PLANE;

    float worth[RUN + 2 * REACH_X];  // of the patches in this thread's walk across
    if (FORM == PATCHWISE)
#pragma unroll
        for (int x = 0; x < RUN + 2 * REACH_X; x++)
            worth[x] = patches[2 * ((size_t)reflect(top + lane, height) * width +
                                    reflect(left + run + x, width))];
    constexpr int SUMS = FORM == PATCH_SUMS ? 2 : VALUES + 1;  // the last is that of the weights
    float sums[DEPTH][SUMS] = {};
    stage(feature_picture, FEATURES, top - HALF_Y, left - HALF_X, OWN_ROWS, COLUMNS, own, COLUMNS,
          OWN_PLANE);

    for (int dy = -radius_y; dy <= radius_y; dy += GROUP)
        for (int first = -radius_x; first <= radius_x; first += chunk) {
            const int y = top - HALF_Y + dy, x = left - HALF_X + first;
            const int window = COLUMNS + chunk - 1;
            __syncthreads();
            stage(feature_picture, FEATURES, y, x, OTHER_ROWS, window, other, other_stride,
                  other_plane);
            if (FORM == PATCHWISE)
                stage(patch_picture, 1, y, x, OTHER_ROWS, window,
                      other + WORTH_PLANE * other_plane, other_stride, other_plane);
            if (GUIDED)
                stage(value_picture, VALUES, y, x, OTHER_ROWS, window,
                      other + VALUE_PLANE * other_plane, other_stride, other_plane);
            __syncthreads();
            for (int shift = 0; shift < chunk && first + shift <= radius_x; shift++) {
                down(own + strip * STRIP * COLUMNS + column,
                     other + strip * STRIP * other_stride + column + shift, other_stride,
                     other_plane, columns + strip * STRIP * FIELD_STRIDE + column, unit, cap);
                __syncthreads();
                unsigned walked[GROUP][RUN];
#pragma unroll
                for (int g = 0; g < GROUP; g++)
                    across(columns + g * FIELD + lane * FIELD_STRIDE + run, walked[g], worth,
                           other + WORTH_PLANE * other_plane + (lane + HALF_Y + g) * other_stride +
                               run + HALF_X + shift,
                           scale, bias, weight_unit);
                if (IN_PLACE) __syncthreads();
#pragma unroll
                for (int k = 0; k < GROUP * RUN; k++)
                    weights[k / RUN * FIELD + lane * FIELD_STRIDE + run + k % RUN] =
                        walked[k / RUN][k % RUN];
                __syncthreads();
                float totals[GROUP][DEPTH];
#pragma unroll
                for (int g = 0; g < GROUP; g++) {
                    total(weights + g * FIELD + strip * DEPTH * FIELD_STRIDE + column, totals[g]);
                    const bool itself = dy + g == 0 && first + shift == 0;
                    if (itself || dy + g > radius_y)
#pragma unroll
                        for (int k = 0; k < DEPTH; k++) totals[g][k] = 0;
                }
                const float* theirs = other + VALUE_PLANE * other_plane + column + HALF_X +
                                      REACH_X + shift +
                                      (strip * DEPTH + HALF_Y + REACH_Y) * other_stride;
#pragma unroll
                for (int k = 0; k < DEPTH + GROUP - 1; k++) {
#pragma unroll
                    for (int c = 0; c < SUMS; c++) {
                        const bool is_value = FORM != PATCH_SUMS && c < VALUES;
                        float value = is_value ? theirs[c * other_plane + k * other_stride] : 1;
#pragma unroll
                        for (int g = 0; g < GROUP; g++) {
                            const int i = k - g;
                            if (i < 0 || i >= DEPTH) continue;
                            if (FORM == PATCH_SUMS && c == 0)
                                sums[i][c] = fmaxf(sums[i][c], totals[g][i]);
                            else
                                sums[i][c] += totals[g][i] * value;
                        }
                    }
                }
                if (IN_PLACE) __syncthreads();
            }
        }

    if (column >= OUT_COLUMNS || left + REACH_X + column >= width) return;
    const int x = left + REACH_X + column;
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
        const int row = strip * DEPTH + k, y = top + REACH_Y + row;
        if (row >= OUT_ROWS || y >= height) break;
        const size_t pixel = (size_t)y * width + x;
        if (FORM == PATCH_SUMS) {
            const float largest = fmaxf(sums[k][0] / weight_scale, self_floor);
            const float mass = sums[k][1] / weight_scale + largest;
            out[2 * pixel] = 1 / sqrtf(mass);
            out[2 * pixel + 1] = largest / mass;
            continue;
        }
        float itself = self_weight;
        if (FORM == PATCHWISE) {
            itself = 0;
            for (int q = -HALF_Y; q <= HALF_Y; q++)
                for (int p = -HALF_X; p <= HALF_X; p++)
                    itself += patches[2 * ((size_t)reflect(y + q, height) * width +
                                           reflect(x + p, width)) + 1];
        }
        itself *= weight_scale;
        for (int c = 0; c < VALUES; c++)
            out[pixel * VALUES + c] = (sums[k][c] + itself * values[pixel * VALUES + c]) /
                                      (sums[k][SUMS - 1] + itself);
    }
}
