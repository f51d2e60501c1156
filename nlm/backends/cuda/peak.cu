// The largest absolute value of an array. Floats that are not negative are in the order of their
// bits.

extern "C" __global__ void __launch_bounds__(256)
peak(const float* numbers, unsigned* peak, unsigned count) {
    float largest = 0;
    const unsigned step = gridDim.x * blockDim.x;
    for (size_t k = blockIdx.x * blockDim.x + threadIdx.x; k < count; k += step)
        largest = fmaxf(largest, fabsf(numbers[k]));
    for (int mask = 1; mask < 32; mask *= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, mask));
    if (threadIdx.x % 32 == 0) atomicMax(peak, __float_as_uint(largest));
}
