// Where the blocks of one frame lie in another, and frames at half size for it; see cpu_motion.py.
//
// What the processor does in float32 is done here in the same order, so that both find the same.

constexpr int BLOCK = 256;  // threads: at least as many as moves that are tried

struct Level {
    const float* pixels;  // (rows, columns), continued by its edge
    int rows, columns;

    __device__ float at(int y, int x) const {
        return pixels[min(max(y, 0), rows - 1) * columns + min(max(x, 0), columns - 1)];
    }
};

struct Area {
    int top, left, rows, columns;
};

__device__ int clip(int value, int low, int high) { return min(max(value, low), high); }

// The part of a block that is in the picture, at least one pixel.
__device__ Area inside(const Level& level, int top, int left, int rows, int columns) {
    return {top, left, clip(level.rows - top, 1, max(rows, 1)),
            clip(level.columns - left, 1, max(columns, 1))};
}

// Squared differences of an area from that which lies so many rows and columns further, summed.
__device__ float mismatch(const Level& here, const Level& there, const Area& area, int y, int x) {
    float total = 0;
    for (int row = 0; row < area.rows; row++)
        for (int column = 0; column < area.columns; column++) {
            const float d = here.at(area.top + row, area.left + column) -
                            there.at(area.top + y + row, area.left + x + column);
            total += d * d;
        }
    return total;
}

extern __shared__ float shared[];  // costs, (BLOCK)

// The best of the moves within `reach` of (y, x): sets it, and returns its mismatch.
__device__ float find(const Level& here, const Level& there, const Area& block, int reach, int& y,
                      int& x) {
    const int top = min(block.top, here.rows - 1), left = min(block.left, here.columns - 1);
    const Area area = inside(here, top, left, block.rows, block.columns);
    const int low_y = -top, high_y = here.rows - top - area.rows;
    const int low_x = -left, high_x = here.columns - left - area.columns;
    const int side = 2 * reach + 1, n = threadIdx.x;
    y = clip(y, low_y, high_y), x = clip(x, low_x, high_x);
    __syncthreads();
    if (n < side * side)
        shared[n] = mismatch(here, there, area, y + n / side - reach, x + n % side - reach);
    __syncthreads();
    int best = 0;
    for (int k = 1; k < side * side; k++)
        if (shared[k] < shared[best]) best = k;
    y = clip(y + best / side - reach, low_y, high_y);
    x = clip(x + best % side - reach, low_x, high_x);
    return shared[best];
}

// A block of threads follows a block of pixels into one of the other frames.
//
// halves, quarters: (slots, rows, columns); slots: (count), the frame that is left first;
// least: (tiles), what moving has to explain; moves: (count, tiles, 2).
extern "C" __global__ void __launch_bounds__(BLOCK)
follow(const float* halves, const float* quarters, const int* slots, const double* least,
       int* moves, int half_rows, int half_columns, int quarter_rows, int quarter_columns,
       int tile_rows, int tile_columns, int tiles_across, int coarse, int fine) {
    const int tile = blockIdx.x, frame = blockIdx.y, tiles = gridDim.x;
    int* const move = moves + (frame * tiles + tile) * 2;
    if (frame == 0) {
        if (threadIdx.x < 2) move[threadIdx.x] = 0;
        return;
    }
    const int top = tile / tiles_across * tile_rows, left = tile % tiles_across * tile_columns;
    const size_t half = (size_t)half_rows * half_columns;
    const size_t quarter = (size_t)quarter_rows * quarter_columns;
    const Level quarter_here = {quarters + slots[0] * quarter, quarter_rows, quarter_columns};
    const Level quarter_there = {quarters + slots[frame] * quarter, quarter_rows, quarter_columns};
    const Level half_here = {halves + slots[0] * half, half_rows, half_columns};
    const Level half_there = {halves + slots[frame] * half, half_rows, half_columns};
    int y = 0, x = 0, still_y = 0, still_x = 0;
    find(quarter_here, quarter_there, {top / 4, left / 4, tile_rows / 4, tile_columns / 4}, coarse,
         y, x);
    y *= 2, x *= 2;
    const Area block = {top / 2, left / 2, tile_rows / 2, tile_columns / 2};
    const float moved = find(half_here, half_there, block, fine, y, x);
    const float unmoved = find(half_here, half_there, block, 0, still_y, still_x);
    const bool stays = (double)(unmoved - moved) < least[tile];
    if (threadIdx.x == 0) {
        move[0] = stays ? 0 : 2 * y;
        move[1] = stays ? 0 : 2 * x;
    }
}

// Means of 2 x 2 pixels of a channel; an odd last row or column is left out.
extern "C" __global__ void halve(const float* picture, float* half, int columns, int channels,
                                 int half_rows, int half_columns, int start) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= half_columns) return;
    const float* from = picture + ((size_t)2 * y * columns + 2 * x) * channels;
    const float* below = from + (size_t)columns * channels;
    half[(size_t)start + y * half_columns + x] =
        (from[0] + below[0] + from[channels] + below[channels]) * 0.25f;
}

// Luma (rows, columns, 1) brought to the grid of subsampled chroma: means of its blocks.
extern "C" __global__ void shrink(const float* luma, float* small, int rows, int columns,
                                  int small_columns, int factor_y, int factor_x) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= small_columns) return;
    float total = 0;
    for (int p = 0; p < factor_x; p++) {
        const int column = min(x * factor_x + p, columns - 1);
        float down = luma[(size_t)min(y * factor_y, rows - 1) * columns + column];
        for (int q = 1; q < factor_y; q++)
            down += luma[(size_t)min(y * factor_y + q, rows - 1) * columns + column];
        down /= (float)factor_y;
        total = p == 0 ? down : total + down;
    }
    small[(size_t)y * small_columns + x] = total / (float)factor_x;
}
