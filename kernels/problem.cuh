// What all kernels are told: one struct, passed by value. src/nearest/cuda/problem.rs is its mirror.
//
// T patches of C numbers are searched in N rows of C numbers. Both are centred by `mean`, scaled by
// powers of two and rounded to half precision for the products; these copies are padded with zeros
// to whole tiles of 128 rows and to a multiple of 32 numbers. Where there are tensor cores they have 8-bit codes too
// (codes.cuh), padded to a multiple of 64, which rule most rows out.
//
// The makers of the code are told its measures as macros by src/nearest/cuda/geometry.rs:
// FAROUT_ARCH (10 x compute capability, e.g. 870), FAROUT_STAGES, FAROUT_QUEUE, FAROUT_BLOCKS.
#pragma once

#include <ptx.cuh>

typedef unsigned short half_bits;
typedef unsigned long long u64;

// Queries and rows per tile of the product, threads per block.
constexpr int TILE = 128;
constexpr int THREADS = 256;
// Lists in registers hold one entry per lane of a warp.
constexpr int LIST = 32;
constexpr unsigned WARP = 0xffffffffu;
// The largest k, and the entries per list that `rescan` writes.
constexpr int MOST_NEAR = 16;
// Patches that one launch of `rescan` measures.
constexpr unsigned WAVE = 4096;
constexpr int RESCAN_SPLITS = 32;

constexpr unsigned F16 = 0;
constexpr unsigned F32 = 1;

// How a patch is to be treated.
enum State : unsigned {
    SEARCHED = 0,   // by products
    ABSENT = 1,     // padding of a tile
    FAULTY = 2,     // holds NaN or infinity
    MEASURED = 3,   // too large for half precision: by `rescan` alone
    DONE = 4,       // its results are written
};

// What `prepare_queries` finds out about a patch, in the bank's scale.
struct Fact {
    float factor;  // key = norm of the row - factor x product
    float square;  // squared norm of the centred patch
    float error;   // bound on |key + square - squared distance|
    float norm;    // the smaller of the norms of the patch and of the centred patch
    unsigned state;
};

// What is known of a row from its code; in the order of the codes.
struct __align__(16) RowCode {
    float scale; // of the code
    float base;  // squared norm of the code, less what rounding may add, and less the square of
    float slack; // by how much, at most, the code is off (L2)
    unsigned row;
};

struct __align__(16) PatchCode {
    float scale, square, slack; // scale and squared norm of the code, and as above
    unsigned sifted;            // whether its rows are sifted by codes
};

struct Problem {
    const void* rows;        // N x C, as the bank stores them
    half_bits* centred_rows; // padded N x padded C
    float* norms;            // padded N: squared norm of each centred row; infinite in the padding
    const float* mean;       // C
    unsigned* extremes;      // bits of the largest |x|, squared norm, squared rounding residual of centred rows
    const void* queries;     // T x C
    float* plain_queries;    // T x C in single precision; `queries` itself if these are that
    half_bits* centred_queries; // padded T x padded C
    Fact* facts;             // padded T
    u64* lists;              // splits x padded T x LIST
    unsigned* unproven;      // T: the patches that `rescan` has to measure
    unsigned* counters;      // how many of these; faulty patches; survivors; tiles of patches that stay open
    u64* rescans;            // min(T, WAVE) x RESCAN_SPLITS x MOST_NEAR
    float* distances;        // T: mean over k
    float* near_distances;   // T x k
    unsigned* near_rows;     // T x k
    unsigned short* coded_rows; // padded N x coded C / 2: two numbers of 8 bits each
    RowCode* row_codes;      // padded N
    unsigned short* coded_queries; // padded T x coded C / 2
    PatchCode* patch_codes;  // padded T
    u64* least;              // padded T x LIST: least upper bound of a distance in each of 32 sets of rows, and its row
    u64* survivors;          // survivor_room: patch and row
    float* survivor_bounds;  // survivor_room: lower bounds of their distances
    float* reaches;          // padded T: upper bound of the k-th distance
    u64* near;               // padded T x MOST_NEAR: the nearest survivors
    unsigned* open_tiles;    // padded T / 128: whether the tile's patches are still to be searched by products
    unsigned n, padded_n, c, padded_c, t, padded_t;
    unsigned k;              // neighbours, 1 to MOST_NEAR
    unsigned kept;           // candidates per list, k to LIST
    unsigned splits;         // parts of the bank that blocks work at side by side
    unsigned tiles_per_split;
    unsigned row_type, query_type; // F16 or F32
    unsigned wave;           // of `rescan` and `gather`
    int exponent;            // the bank's scale is 2^exponent
    float reach;             // largest norm of a centred row, scaled, rounded up
    float residual;          // largest norm of a centred row's rounding residual, scaled, rounded up
    unsigned coded_c;
    unsigned survivor_room;
    unsigned sifting;        // whether this frame is sifted by codes first
    unsigned unused;
};

constexpr int UNPROVEN = 0;
constexpr int FAULTS = 1;
constexpr int SURVIVORS = 2;
constexpr int OPEN = 3;

static __device__ __forceinline__ unsigned lane_id() { return threadIdx.x & 31; }
static __device__ __forceinline__ int warp_id() { return threadIdx.x >> 5; }

static __device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

static __device__ __forceinline__ bool finite(float x) {
    return (__float_as_uint(x) & 0x7fffffffu) < 0x7f800000u;
}

// 2^exponent, for -126 to 127.
static __device__ __forceinline__ float power_of_two(int exponent) {
    return __uint_as_float(static_cast<unsigned>(exponent + 127) << 23);
}

// The exponent of the power of two that brings a vector of `count` numbers, none larger than
// `largest`, to a norm of at most 2^14: halves hold up to 65504.
static __device__ __forceinline__ int fitting_exponent(float largest, unsigned count) {
    int exponent;
    frexpf(largest * sqrtf(static_cast<float>(count)), &exponent);
    return 14 - exponent;
}

static __device__ __forceinline__ float load(const void* data, unsigned type, size_t at) {
    return type == F16 ? float_of_half(static_cast<const half_bits*>(data)[at]) : static_cast<const float*>(data)[at];
}
