// CUDA's words for the CPU emulation, in place of kernels/ptx.cuh. Fragment layouts are those of the
// PTX ISA: ldmatrix 9.7.14.5.15, m16n8k8 9.7.14.5.7, m16n8k16 9.7.14.5.8; of bytes m8n8k16 9.7.14.5.4, m16n8k32 9.7.14.5.10.
#pragma once

#include <cmath>
#include <cstring>

#include "machine.h"

#define __device__
#define __global__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define SHARED_MEMORY(name) unsigned char* name = emulation::shared()

#define threadIdx emulation::thread
#define blockIdx emulation::block
#define gridDim emulation::grid

struct uint4 {
    unsigned x, y, z, w;
};

static inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
static inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
static inline int min(int a, int b) { return b < a ? b : a; }
static inline int max(int a, int b) { return a < b ? b : a; }

static inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}
static inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline float float_of_half(unsigned short bits) { return emulation::float_of_half(bits); }
static inline unsigned short half_of_float(float x) { return emulation::half_of_float(x); }

static inline void __syncthreads() { emulation::meet(false); }
static inline int __syncthreads_or(int condition) { return emulation::meet(condition != 0); }
static inline void __syncwarp() { emulation::meet_warp(); }

template <class T>
static inline T of_lane(const unsigned char* all, unsigned lane) {
    T x;
    memcpy(&x, all + 32 * lane, sizeof x);
    return x;
}

template <class T>
static inline T __shfl_sync(unsigned, T x, unsigned lane) {
    return of_lane<T>(emulation::exchange("shfl", &x, sizeof x), lane & 31);
}
template <class T>
static inline T __shfl_xor_sync(unsigned, T x, unsigned mask) {
    return of_lane<T>(emulation::exchange("shfl.xor", &x, sizeof x), (threadIdx.x ^ mask) & 31);
}
template <class T>
static inline T __shfl_up_sync(unsigned, T x, unsigned by) {
    const unsigned lane = threadIdx.x & 31;
    return of_lane<T>(emulation::exchange("shfl.up", &x, sizeof x), lane < by ? lane : lane - by);
}
static inline unsigned __ballot_sync(unsigned, int condition) {
    const unsigned char* all = emulation::exchange("ballot", &condition, sizeof condition);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
        bits |= (of_lane<int>(all, lane) != 0 ? 1u : 0u) << lane;
    }
    return bits;
}
static inline int __all_sync(unsigned mask, int condition) { return __ballot_sync(mask, condition) == 0xffffffffu; }

static inline unsigned atomicAdd(unsigned* address, unsigned by) { return emulation::add(address, by); }
static inline unsigned atomicMax(unsigned* address, unsigned other) { return emulation::raise(address, other); }
static inline unsigned long long atomicMin(unsigned long long* address, unsigned long long other) {
    return emulation::lower(address, other);
}
template <class Number>
static inline Number latest(const Number* at) {
    Number x;
    emulation::copy_changing(&x, at, sizeof x);
    return x;
}

#if FAROUT_ARCH >= 750
static inline void load_matrices(unsigned (&out)[4], const void* row) {
    const unsigned char* all = emulation::exchange("ldmatrix", &row, sizeof row);
    const unsigned lane = threadIdx.x & 31;
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
        const unsigned char* from = of_lane<const unsigned char*>(all, 8 * matrix + lane / 4) + 4 * (lane % 4);
        memcpy(&out[matrix], from, 4);
    }
}

// Number `high` of the pair in a register.
static inline double half_in(unsigned pair, unsigned high) {
    return emulation::float_of_half(static_cast<unsigned short>(pair >> (16 * high)));
}

// No better than a tensor core need be: the sum is cut, not rounded.
static inline float cut(double x) {
    const float near = static_cast<float>(x);
    return std::fabs(static_cast<double>(near)) > std::fabs(x) ? std::nextafterf(near, 0.0f) : near;
}

// `depth` 8 or 16; registers a[i], b[i] of lane l at offsets 4 i and 16 + 4 i of its exchanged bytes.
static inline void multiply(float (&c)[4], const unsigned char* all, unsigned depth) {
    const unsigned lane = threadIdx.x & 31;
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        double sum = c[i];
        for (unsigned k = 0; k < depth; ++k) {
            // A: rows 8 on are in the odd registers, numbers 8 on in the upper two.
            const unsigned a_lane = row % 8 * 4 + k % 8 / 2, a_register = row / 8 + 2 * (k / 8);
            const unsigned b_lane = column * 4 + k % 8 / 2, b_register = k / 8;
            unsigned a, b;
            memcpy(&a, all + 32 * a_lane + 4 * a_register, 4);
            memcpy(&b, all + 32 * b_lane + 16 + 4 * b_register, 4);
            sum += half_in(a, k % 2) * half_in(b, k % 2);
        }
        c[i] = cut(sum);
    }
}

// As `multiply`, of bytes: `rows` and `depth` of A are 8 and 16, or 16 and 32.
static inline int byte_in(unsigned four, unsigned at) { return static_cast<signed char>(four >> (8 * at)); }

static inline void multiply_bytes(int* c, const unsigned char* all, unsigned rows, unsigned depth) {
    const unsigned lane = threadIdx.x & 31;
    for (unsigned i = 0; i < rows / 4; ++i) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        for (unsigned k = 0; k < depth; ++k) {
            // A: rows 8 on are in the odd registers, numbers 16 on in the upper two.
            const unsigned a_lane = row % 8 * 4 + k % 16 / 4, a_register = row / 8 + 2 * (k / 16);
            const unsigned b_lane = column * 4 + k % 16 / 4, b_register = k / 16;
            unsigned a, b;
            memcpy(&a, all + 32 * a_lane + 4 * a_register, 4);
            memcpy(&b, all + 32 * b_lane + 16 + 4 * b_register, 4);
            c[i] += byte_in(a, k % 4) * byte_in(b, k % 4);
        }
    }
}

static inline void mma_m8n8k16(int& c0, int& c1, unsigned a, unsigned b) {
    const unsigned mine[6] = {a, 0, 0, 0, b, 0};
    int sums[2] = {c0, c1};
    multiply_bytes(sums, emulation::exchange("mma.m8n8k16", mine, sizeof mine), 8, 16);
    c0 = sums[0];
    c1 = sums[1];
}

static inline void mma_m16n8k8(float (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
    const unsigned mine[6] = {a0, a1, 0, 0, b0, 0};
    multiply(c, emulation::exchange("mma.m16n8k8", mine, sizeof mine), 8);
}
#endif

#if FAROUT_ARCH >= 800
static inline void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    multiply(c, emulation::exchange("mma.m16n8k16", mine, sizeof mine), 16);
}

static inline void mma_m16n8k32(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    multiply_bytes(c, emulation::exchange("mma.m16n8k32", mine, sizeof mine), 16, 32);
}

static inline void copy_async(void* shared, const void* global) { emulation::copy_later(shared, global, 16); }
static inline void copies_commit() { emulation::commit_copies(); }
template <int under_way>
static inline void copies_wait() {
    emulation::wait_for_copies(under_way);
}
#endif
