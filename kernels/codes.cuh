// Vectors as 8-bit codes, and what these prove of a distance.
//
// A centred vector y in the bank's scale is turned by H: of C / 64 blocks each has 64 numbers that lie C / 64 apart, and is
// multiplied by a Hadamard matrix divided by 8, which is exactly orthogonal. That makes the numbers of a
// block alike in size, so that codes lose little. The code is n with one scale: w = scale n is within `slack` (L2) of
// H y. So for patch q and row r at distance D
//     | |w(q) - w(r)| - D | <= slack(q) + slack(r),
//     |w(q) - w(r)|^2 = |w(q)|^2 + |w(r)|^2 - 2 scale(q) scale(r) n(q).n(r),
// in which the product of the codes is exact in 32 bits. What rounding adds elsewhere:
//   - slack is measured, not estimated: the residual is one fused operation, sums of C / 32 squares per lane err by
//     less than 1e-4 relative (C up to 2^15), centring rounds once and H six times, 2^-20 |y| in all at most;
//   - the test's terms are below |w(q)|^2 + |w(r)|^2 + (D + slack(q))^2 + slack(r)^2, of which a dozen roundings take
//     less than MARGIN.
// src/nearest/bound.rs has the same proof for the CPU.
#pragma once

#include <distance.cuh>

constexpr float MARGIN = 4e-6f;
// Numbers of a block of H.
constexpr unsigned BLOCK = 64;
// Vectors with no larger number, in the bank's scale, count as zero.
constexpr float NOTHING = 1e-20f;
// Patches whose slack is more than this part of the bank's reach are so far out that codes tell rows apart badly.
constexpr float MOST_SLACK = 0.0625f;

// By how much a distance that was computed (distance.cuh) can differ from the exact one, twice over.
static __device__ __forceinline__ float widened(float distance, unsigned c) {
    return distance * (1 + static_cast<float>(c / 32 + 16) * 0x1p-22f);
}

// One block of a centred vector after H: two numbers per lane.
struct Turned {
    float low, high;
};

static __device__ __forceinline__ float butterfly(float x) {
#pragma unroll
    for (int stride = 1; stride < 32; stride *= 2) {
        const float other = __shfl_xor_sync(WARP, x, stride);
        x = (lane_id() & stride) == 0 ? x + other : other - x;
    }
    return x;
}

// `at(i)` gives number i of the vector, for i < c.
template <class At>
static __device__ __forceinline__ Turned turned(const At& at, unsigned block, unsigned blocks, unsigned c) {
    const unsigned first = block + blocks * lane_id(), second = first + blocks * 32;
    const float x = first < c ? at(first) : 0, y = second < c ? at(second) : 0;
    return {butterfly(x + y) * 0.125f, butterfly(x - y) * 0.125f};
}

// What a code means.
struct Code {
    float scale, square, slack; // of w: scale, squared norm; bound on |H y - w|
};

static __device__ __forceinline__ int nearest_whole(float x) {
    return static_cast<int>(fminf(fmaxf(rintf(x), -127.0f), 127.0f));
}

// Writes the code of a vector, `blocks` x 64 numbers of 8 bits, two by two. The same result in all lanes.
template <class At>
static __device__ __forceinline__ Code encode(const At& at, unsigned blocks, unsigned c, unsigned short* code) {
    float largest = 0, norm = 0;
    for (unsigned block = 0; block < blocks; ++block) {
        const Turned y = turned(at, block, blocks, c);
        largest = fmaxf(largest, fmaxf(fabsf(y.low), fabsf(y.high)));
        norm = fmaf(y.low, y.low, fmaf(y.high, y.high, norm));
    }
    largest = warp_max(largest);
    norm = sqrtf(warp_sum(norm));
    const bool nothing = !(largest > NOTHING);
    const float scale = nothing ? 0 : largest / 127, steps = nothing ? 0 : 127 / largest;
    unsigned squares = 0;
    float rest = 0;
    for (unsigned block = 0; block < blocks; ++block) {
        const Turned y = turned(at, block, blocks, c);
        const int low = nearest_whole(y.low * steps), high = nearest_whole(y.high * steps);
        code[block * (BLOCK / 2) + lane_id()] = static_cast<unsigned short>((low & 0xff) | (high & 0xff) << 8);
        squares += low * low + high * high;
        const float error_low = fmaf(static_cast<float>(-low), scale, y.low);
        const float error_high = fmaf(static_cast<float>(-high), scale, y.high);
        rest = fmaf(error_low, error_low, fmaf(error_high, error_high, rest));
    }
    rest = sqrtf(warp_sum(rest));
    const float square = scale * scale * static_cast<float>(warp_sum(squares));
    return {scale, square, 1.0002f * rest + 0x1p-20f * norm + 1e-18f};
}

// What is known of |w(q) - w(r)|^2 - |w(q)|^2 from the product of the codes: a lower bound, reduced by slack(r)^2 too.
static __device__ __forceinline__ float key_of_codes(const RowCode& row, float factor, int product) {
    return fmaf(factor * static_cast<float>(product), row.scale, row.base);
}

// The test of a patch: rows that may be within `distance` have
//     key + weight slack(r) <= bar.
struct Bar {
    float factor; // -2 scale(q)
    float weight; // -2 (distance + slack(q))
    float bar;
};

static __device__ __forceinline__ Bar bar_at(const PatchCode& patch, float distance) {
    const float reach = distance + patch.slack, square = reach * reach;
    return {-2 * patch.scale, -2 * reach, square - patch.square + MARGIN * (square + patch.square)};
}

// Bounds of the distance, as they follow from |w(q) - w(r)|.
struct Bounds {
    float least, most;
};

static __device__ __forceinline__ Bounds bounds_of(const PatchCode& patch, const RowCode& row, float key, float reach) {
    const float square = key + patch.square + row.slack * row.slack;
    const float doubt = 4 * MARGIN * (patch.square + 1.1f * reach * reach);
    const float slack = (patch.slack + row.slack) * 1.000001f;
    return {
        sqrtf(fmaxf(square - doubt, 0.0f)) * 0.999999f - slack,
        sqrtf(fmaxf(square + doubt, 0.0f)) * 1.000001f + slack,
    };
}
