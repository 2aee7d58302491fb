// The product of a tile of queries and a tile of rows, out of shared memory.
//
// A tile's step is 128 rows of 64 bytes, 32 halves or 64 codes of 8 bits, in four chunks of 16 bytes. Chunk c
// of row r lies at place c ^ (r / 2 % 4), so that eight rows that a matrix load reads touch all 32 banks.
//
// 8 warps share a 128 x 128 tile: warp w has queries 64 (w / 4) on and rows 32 (w % 4) on, as 4 x 4
// fragments of 16 x 8 (PTX ISA, 9.7.14.5.8). With g = lane / 4 and t = lane % 4, number i of fragment
// (m, n) belongs to query 16 m + g + 8 (i / 2) and row 8 n + 2 t + i % 2. A fragment of codes lies in the
// registers as one of halves with the same bytes. The product without tensor cores deals its sums to the
// lanes in the same way.
#pragma once

#include <problem.cuh>

// Bytes of a row in a step, and of a tile's step.
constexpr int STEP_WIDTH = 64;
constexpr int STEP_BYTES = TILE * STEP_WIDTH;

// Sums of float for halves, of int for codes.
template <class Number>
using Products = Number[4][4][4];

static __device__ __forceinline__ int chunk_at(int row, int chunk) {
    return row * STEP_WIDTH + ((chunk ^ (row >> 1 & 3)) << 4);
}

static __device__ __forceinline__ int first_query_of_warp() { return warp_id() / 4 * 64; }
static __device__ __forceinline__ int first_row_of_warp() { return warp_id() % 4 * 32; }

// Query of number i of fragments (m, any), row of number i of fragments (any, n), within the tile.
static __device__ __forceinline__ int query_of(int m, int i) {
    return first_query_of_warp() + 16 * m + (lane_id() >> 2) + 8 * (i >> 1);
}
static __device__ __forceinline__ int row_in_tile(int n, int i) {
    return first_row_of_warp() + 8 * n + 2 * (lane_id() & 3) + (i & 1);
}

#if FAROUT_ARCH >= 750
static __device__ __forceinline__ void multiply(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if FAROUT_ARCH >= 800
    mma_m16n8k16(sums, a, b0, b1);
#else
    mma_m16n8k8(sums, a[0], a[1], b0);
    mma_m16n8k8(sums, a[2], a[3], b1);
#endif
}

static __device__ __forceinline__ void multiply(int (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if FAROUT_ARCH >= 800
    mma_m16n8k32(sums, a, b0, b1);
#else
    mma_m8n8k16(sums[0], sums[1], a[0], b0);
    mma_m8n8k16(sums[2], sums[3], a[1], b0);
    mma_m8n8k16(sums[0], sums[1], a[2], b1);
    mma_m8n8k16(sums[2], sums[3], a[3], b1);
#endif
}

template <class Number>
static __device__ __forceinline__ void add_products(Products<Number>& sums, const unsigned char* queries, const unsigned char* rows) {
    const unsigned lane = lane_id();
#pragma unroll
    for (int half = 0; half < STEP_WIDTH / 32; ++half) {
        unsigned b[2][4];
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
            // Matrices: rows 0-7 and 8-15 of a pair of fragments, each with its first and second 16 bytes.
            const int row = first_row_of_warp() + 16 * pair + (lane & 7) + (lane >> 4) * 8;
            load_matrices(b[pair], rows + chunk_at(row, 2 * half + (lane >> 3 & 1)));
        }
#pragma unroll
        for (int m = 0; m < 4; ++m) {
            unsigned a[4];
            load_matrices(a, queries + chunk_at(first_query_of_warp() + 16 * m + (lane & 15), 2 * half + (lane >> 4)));
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                multiply(sums[m][n], a, b[n >> 1][2 * (n & 1)], b[n >> 1][2 * (n & 1) + 1]);
            }
        }
    }
}
#else
static __device__ __forceinline__ unsigned pair_at(const unsigned char* step, int row, int depth) {
    return *reinterpret_cast<const unsigned*>(step + chunk_at(row, depth >> 3) + (depth & 7) * 2);
}

static __device__ __forceinline__ void add_products(Products<float>& sums, const unsigned char* queries, const unsigned char* rows) {
    for (int depth = 0; depth < STEP_WIDTH / 2; depth += 2) {
        float low[4][2], high[4][2];
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const unsigned pair = pair_at(rows, row_in_tile(n, i), depth);
                low[n][i] = float_of_half(static_cast<half_bits>(pair & 0xffff));
                high[n][i] = float_of_half(static_cast<half_bits>(pair >> 16));
            }
        }
#pragma unroll
        for (int m = 0; m < 4; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const unsigned pair = pair_at(queries, query_of(m, 2 * h), depth);
                const float first = float_of_half(static_cast<half_bits>(pair & 0xffff));
                const float second = float_of_half(static_cast<half_bits>(pair >> 16));
#pragma unroll
                for (int n = 0; n < 4; ++n) {
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        float& sum = sums[m][n][2 * h + i];
                        sum = fmaf(second, high[n][i], fmaf(first, low[n][i], sum));
                    }
                }
            }
        }
    }
}
#endif
