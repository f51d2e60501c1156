// A .cu file on the CPU: threads are fibres, a barrier hands over to the next.
//
// Compile with -DSOURCE='"file.cu"' -DKERNEL=name. Every block runs its threads one by one, each up
// to its next barrier, in ascending or descending order: code that lacks a barrier fails in one of
// the two. Shared memory begins as NaN, and what is written beyond its end is found out.

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <utility>

struct Position {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

static Position threadIdx, blockIdx, blockDim, gridDim;
constexpr int SHARED = 1 << 16, GUARD = 64;
alignas(16) float shared[SHARED + GUARD];

namespace host {
constexpr int THREADS = 1024, STACK = 1 << 16;
ucontext_t beginnings[THREADS];
jmp_buf scheduler, fibres[THREADS];
bool begun[THREADS], done[THREADS];
char stacks[THREADS][STACK];
unsigned current;
float exchanged[THREADS];

// swapcontext would ask the system for the mask of signals, each time.
void barrier() {
    if (!_setjmp(fibres[current])) _longjmp(scheduler, 1);
}

void go_on() {
    if (_setjmp(scheduler)) return;
    if (begun[current]) _longjmp(fibres[current], 1);
    begun[current] = true;
    setcontext(&beginnings[current]);
}
}  // namespace host

#define __global__
#define __device__ inline
#define __shared__
#define __launch_bounds__(...)
#define __syncthreads() host::barrier()

static inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static inline float __shfl_xor_sync(unsigned, float value, int mask) {
    host::exchanged[threadIdx.x] = value;
    host::barrier();
    float other = host::exchanged[threadIdx.x ^ mask];
    host::barrier();
    return other;
}

static inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline void atomicMax(unsigned* place, unsigned value) {
    if (value > *place) *place = value;
}

// What the kernels have as instructions of tensor cores.
#define ON_HOST

static inline unsigned pack(float low, float high) {
    const _Float16 halves[2] = {(_Float16)low, (_Float16)high};
    unsigned packed;
    memcpy(&packed, halves, 4);
    return packed;
}

static inline void unpack(unsigned packed, float& low, float& high) {
    _Float16 halves[2];
    memcpy(halves, &packed, 4);
    low = halves[0], high = halves[1];
}

namespace host {
struct Fragment {
    float a[8], b[4];
} fragments[THREADS];
}  // namespace host

// sums += a b, of a warp's 16 x 16 and 16 x 8 matrices, as mma.m16n8k16 has them.
static inline void multiply(float* sums, const uint4& a, unsigned b0, unsigned b1) {
    host::Fragment& mine = host::fragments[threadIdx.x];
    const unsigned words[6] = {a.x, a.y, a.z, a.w, b0, b1};
    for (int k = 0; k < 4; k++) unpack(words[k], mine.a[2 * k], mine.a[2 * k + 1]);
    for (int k = 0; k < 2; k++) unpack(words[4 + k], mine.b[2 * k], mine.b[2 * k + 1]);
    host::barrier();
    const host::Fragment* warp = host::fragments + threadIdx.x / 32 * 32;
    const int lane = threadIdx.x % 32;
    for (int n = 0; n < 4; n++) {
        float sum = 0;
        for (int k = 0; k < 16; k++) {  // row lane / 4 + n / 2 * 8, column lane % 4 * 2 + n % 2
            const int pair = k / 2 % 4, upper = k / 8;
            sum += warp[lane / 4 * 4 + pair].a[4 * upper + 2 * (n / 2) + k % 2] *
                   warp[(lane % 4 * 2 + n % 2) * 4 + pair].b[2 * upper + k % 2];
        }
        sums[n] += sum;
    }
    host::barrier();
}

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

#include SOURCE

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(A*)arguments[I]...);
}

template <class... A>
static void call(void (*kernel)(A...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>());
}

static void** arguments_of_all;

static void fibre() {
    call(KERNEL, arguments_of_all);
    host::done[host::current] = true;
    _longjmp(host::scheduler, 1);
}

// 0: well; 1: shared memory was overrun; 2: threads do not meet at the same barriers.
static int run_block(unsigned threads, unsigned words, bool reverse) {
    for (unsigned k = 0; k < SHARED + GUARD; k++) shared[k] = NAN;
    for (unsigned k = 0; k < threads; k++) {
        getcontext(&host::beginnings[k]);
        host::beginnings[k].uc_stack.ss_sp = host::stacks[k];
        host::beginnings[k].uc_stack.ss_size = host::STACK;
        makecontext(&host::beginnings[k], fibre, 0);
        host::begun[k] = host::done[k] = false;
    }
    for (unsigned finished = 0; finished == 0;) {
        for (unsigned n = 0; n < threads; n++) {
            host::current = threadIdx.x = reverse ? threads - 1 - n : n;
            threadIdx.y = threadIdx.z = 0;
            host::go_on();
            finished += host::done[host::current];
        }
        if (finished != 0 && finished != threads) return 2;
    }
    for (unsigned k = words; k < words + GUARD; k++)
        if (!isnan(shared[k])) return 1;
    return 0;
}

extern "C" int run(void** arguments, const unsigned* grid, unsigned threads, unsigned shared_bytes,
                   int reverse) {
    arguments_of_all = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads, 1, 1};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++)
                if (int error = run_block(threads, shared_bytes / 4, reverse)) return error;
    return 0;
}
