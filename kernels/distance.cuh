// Distances in single precision by a warp, from differences: nothing cancels, so that the error is
// at most (C / 32 + 8) 2^-24, relative, whatever the norms (Higham, Accuracy and Stability, 3.1:
// each lane adds C / 32 squares, five additions join the lanes). All functions need the whole warp.
#pragma once

#include <lists.cuh>

static __device__ __forceinline__ float number(half_bits bits) { return float_of_half(bits); }
static __device__ __forceinline__ float number(float x) { return x; }

// The same in all lanes, bit for bit.
template <class Number>
static __device__ __forceinline__ Number warp_sum(Number x) {
#pragma unroll
    for (int stride = 16; stride > 0; stride /= 2) {
        x += __shfl_xor_sync(WARP, x, stride);
    }
    return x;
}

static __device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int stride = 16; stride > 0; stride /= 2) {
        x = fmaxf(x, __shfl_xor_sync(WARP, x, stride));
    }
    return x;
}

// For distances whose square leaves the range of single precision.
template <class Row>
static __device__ __noinline__ float extreme_distance(const float* query, const Row* row, unsigned c) {
    float largest = 0;
    for (unsigned i = lane_id(); i < c; i += 32) {
        largest = fmaxf(largest, fabsf(query[i] - number(row[i])));
    }
    largest = warp_max(largest);
    if (largest == 0 || !finite(largest)) {
        return largest;
    }
    int exponent;
    frexpf(largest, &exponent);
    float sum = 0;
    for (unsigned i = lane_id(); i < c; i += 32) {
        const float difference = ldexpf(query[i] - number(row[i]), -exponent);
        sum = fmaf(difference, difference, sum);
    }
    return ldexpf(sqrtf(warp_sum(sum)), exponent);
}

// The distance whose square in the bank's scale is `sum`, measured anew if that is out of range.
template <class Row>
static __device__ __forceinline__ float distance_of(float sum, const Problem& p, const float* query, const Row* row) {
    if (sum > 0x1p-40f && sum < 0x1p100f) {
        return sqrtf(sum) * power_of_two(-p.exponent);
    }
    return extreme_distance(query, row, p.c);
}

template <class Row>
static __device__ __forceinline__ float warp_distance(const Problem& p, const float* query, const Row* row) {
    const float scale = power_of_two(p.exponent);
    float sum = 0;
    for (unsigned i = lane_id(); i < p.c; i += 32) {
        const float difference = (query[i] - number(row[i])) * scale;
        sum = fmaf(difference, difference, sum);
    }
    return distance_of(warp_sum(sum), p, query, row);
}

// Writes the k nearest of a patch, an ascending list, and their mean distance.
static __device__ __forceinline__ void write_nearest(const Problem& p, unsigned query, u64 near) {
    const unsigned lane = lane_id();
    const float distance = key_of(near);
    // Sums of distances near the end of the range overflow before the mean does.
    const bool huge = __shfl_sync(WARP, distance, p.k - 1) > 0x1p120f;
    const float shrunk = huge ? distance * 0x1p-8f : distance;
    float sum = 0;
    for (unsigned i = 0; i < p.k; ++i) {
        sum += __shfl_sync(WARP, shrunk, i);
    }
    const float mean = sum / static_cast<float>(p.k);
    if (lane == 0) {
        p.distances[query] = huge ? mean * 0x1p8f : mean;
    }
    if (lane < p.k) {
        p.near_distances[static_cast<size_t>(query) * p.k + lane] = distance;
        p.near_rows[static_cast<size_t>(query) * p.k + lane] = row_of(near);
    }
}
