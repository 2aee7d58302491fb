// Makes the bank's copy for the products, once, when it is opened.
// Caller: src/nearest/cuda/bank.rs.

#include <distance.cuh>

// The largest |x - mean| of the bank into extremes[0], which the caller has set to 0.
// Launch: any number of blocks of 256 threads, a warp per row and turn; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) measure_bank(const Problem p) {
    float largest = 0;
    for (unsigned row = blockIdx.x * (THREADS / 32) + warp_id(); row < p.n; row += gridDim.x * (THREADS / 32)) {
        for (unsigned i = lane_id(); i < p.c; i += 32) {
            largest = fmaxf(largest, fabsf(load(p.rows, p.row_type, static_cast<size_t>(row) * p.c + i) - p.mean[i]));
        }
    }
    largest = warp_max(largest);
    if (lane_id() == 0) {
        // The bits of numbers that are not negative are in their order.
        atomicMax(p.extremes, __float_as_uint(largest));
    }
}

// centred_rows and norms (all of the padding too), and the largest squared norm and squared rounding
// residual into extremes[1] and extremes[2], which the caller has set to 0.
// Launch: as measure_bank.
extern "C" __global__ void __launch_bounds__(THREADS) centre_bank(const Problem p) {
    const float scale = power_of_two(p.exponent);
    float largest_square = 0, largest_residual = 0;
    for (unsigned row = blockIdx.x * (THREADS / 32) + warp_id(); row < p.padded_n; row += gridDim.x * (THREADS / 32)) {
        float square = 0, residual = 0;
        for (unsigned i = lane_id(); i < p.padded_c; i += 32) {
            float x = 0;
            if (row < p.n && i < p.c) {
                x = (load(p.rows, p.row_type, static_cast<size_t>(row) * p.c + i) - p.mean[i]) * scale;
            }
            const half_bits rounded = half_of_float(x);
            const float rest = x - float_of_half(rounded);
            square = fmaf(x, x, square);
            residual = fmaf(rest, rest, residual);
            p.centred_rows[static_cast<size_t>(row) * p.padded_c + i] = rounded;
        }
        square = warp_sum(square);
        largest_square = fmaxf(largest_square, square);
        largest_residual = fmaxf(largest_residual, warp_sum(residual));
        if (lane_id() == 0) {
            p.norms[row] = row < p.n ? square : infinity();
        }
    }
    if (lane_id() == 0) {
        atomicMax(p.extremes + 1, __float_as_uint(largest_square));
        atomicMax(p.extremes + 2, __float_as_uint(largest_residual));
    }
}
