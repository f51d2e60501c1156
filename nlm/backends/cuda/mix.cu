// Linear combinations of the channels of one or two pictures: colours to luma and chroma, and back.

#ifndef INPUTS
#define INPUTS 3   // channels of both pictures
#define OWN 3      // of them, those of the first one
#define OUTPUTS 3
#endif

// first: (pixels, OWN); second: (pixels, INPUTS - OWN); matrix: (OUTPUTS, INPUTS).
extern "C" __global__ void mix(const float* first, const float* second, const float* matrix,
                               float* out, int pixels) {
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= pixels) return;
    float inputs[INPUTS];
    for (int c = 0; c < INPUTS; c++)
        inputs[c] = c < OWN ? first[(size_t)pixel * OWN + c]
                            : second[(size_t)pixel * (INPUTS - OWN) + c - OWN];
    for (int c = 0; c < OUTPUTS; c++) {
        float sum = 0;
        for (int k = 0; k < INPUTS; k++) sum += matrix[c * INPUTS + k] * inputs[k];
        out[(size_t)pixel * OUTPUTS + c] = sum;
    }
}
