// Everything that is not plain C++: the tensor-core product, matrix loads, asynchronous copies and
// half-precision conversions as inline PTX (PTX ISA 8.5, sections 9.7.14 and 9.7.9.25). The CPU
// emulation of the tests (tests/emulation/) puts its own ptx.cuh in place of this one.
#pragma once

// The block's dynamic shared memory, as bytes.
#define SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]

static __device__ __forceinline__ float float_of_half(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

// Rounds to nearest, ties to even.
static __device__ __forceinline__ unsigned short half_of_float(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// What other threads are changing by atomic operations: as it was at some moment.
template <class Number>
static __device__ __forceinline__ Number latest(const Number* at) {
    return *static_cast<const volatile Number*>(at);
}

#if FAROUT_ARCH >= 750
static __device__ __forceinline__ unsigned shared_address(const void* pointer) {
    unsigned long long address;
    asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(pointer));
    return static_cast<unsigned>(address);
}

// Four 8x8 matrices of halves: lane 8 m + i names row i of matrix m (16 bytes), lane 4 i + j gets
// elements 2j and 2j + 1 of row i of each.
static __device__ __forceinline__ void load_matrices(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a b, a 16 x 8, b 8 x 8.
static __device__ __forceinline__ void mma_m16n8k8(float (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(b0));
}

// c += a b of 8-bit integers, exact: a 8 x 16, b 16 x 8.
static __device__ __forceinline__ void mma_m8n8k16(int& c0, int& c1, unsigned a, unsigned b) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+r"(c0), "+r"(c1)
                 : "r"(a), "r"(b));
}
#endif

#if FAROUT_ARCH >= 800
// c += a b, a 16 x 16, b 16 x 8.
static __device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a b of 8-bit integers, exact: a 16 x 32, b 32 x 8.
static __device__ __forceinline__ void mma_m16n8k32(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Starts to copy 16 bytes from global to shared memory.
static __device__ __forceinline__ void copy_async(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}

// Ends a group of copies.
static __device__ __forceinline__ void copies_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most the newest `under_way` groups of this thread are unfinished.
template <int under_way>
static __device__ __forceinline__ void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(under_way) : "memory");
}
#endif
