// Short sorted lists, one entry per lane of a warp. An entry is a key and a row in one 64-bit number
// whose order is that of the keys and, of equal keys, of the rows: what a list holds depends on what
// was offered, not on when. All functions need the whole warp.
#pragma once

#include <problem.cuh>

constexpr u64 EMPTY = ~0ull;

// Any key but NaN.
static __device__ __forceinline__ u64 entry_of(float key, unsigned row) {
    const unsigned bits = __float_as_uint(key);
    const unsigned ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return static_cast<u64>(ordered) << 32 | row;
}

static __device__ __forceinline__ float key_of(u64 entry) {
    const unsigned ordered = static_cast<unsigned>(entry >> 32);
    return __uint_as_float(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

static __device__ __forceinline__ unsigned row_of(u64 entry) { return static_cast<unsigned>(entry); }

static __device__ __forceinline__ u64 exchanged(u64 x, int stride, bool keep_smaller) {
    const u64 other = __shfl_xor_sync(WARP, x, stride);
    return (x < other) == keep_smaller ? x : other;
}

// The entries of all lanes, ascending (bitonic sort).
static __device__ __forceinline__ u64 sorted(u64 x) {
    const unsigned lane = lane_id();
#pragma unroll
    for (int size = 2; size <= LIST; size *= 2) {
#pragma unroll
        for (int stride = size / 2; stride > 0; stride /= 2) {
            x = exchanged(x, stride, ((lane & stride) == 0) == ((lane & size) == 0 || size == LIST));
        }
    }
    return x;
}

// The LIST smallest of two ascending lists, ascending.
static __device__ __forceinline__ u64 merged(u64 list, u64 other) {
    const unsigned lane = lane_id();
    const u64 reversed = __shfl_sync(WARP, other, LIST - 1 - lane);
    u64 x = list < reversed ? list : reversed;
#pragma unroll
    for (int stride = LIST / 2; stride > 0; stride /= 2) {
        x = exchanged(x, stride, (lane & stride) == 0);
    }
    return x;
}

// The list with `entry` (the same in all lanes) in its place.
static __device__ __forceinline__ u64 inserted(u64 list, u64 entry) {
    const unsigned lane = lane_id();
    const unsigned before = __popc(__ballot_sync(WARP, list < entry));
    const u64 previous = __shfl_up_sync(WARP, list, 1);
    return lane < before ? list : lane == before ? entry : previous;
}
