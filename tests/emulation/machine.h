// What the emulated kernels call. A launch runs block after block; the threads of a block are fibers
// that take turns in an order drawn from a seed and switch only where CUDA makes them meet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulation {

struct Index {
    unsigned x, y;
};

// Of the running thread.
extern Index thread, block, grid;

// Dynamic shared memory of the running block.
unsigned char* shared();

// All threads of the block meet; true where any brings `condition`.
bool meet(bool condition);

// All lanes of the warp meet, and writes before it are seen after it.
void meet_warp();

// All lanes of the warp meet with `size` bytes each, at most 32; gives those of all lanes, 32 bytes
// apart. Orders no memory.
const unsigned char* exchange(const char* what, const void* mine, size_t size);

// Atomic sum, maximum and minimum; give what was there before.
unsigned add(unsigned* address, unsigned by);
unsigned raise(unsigned* address, unsigned other);
unsigned long long lower(unsigned long long* address, unsigned long long other);

// Copies what others may be changing by atomic operations.
void copy_changing(void* to, const void* address, size_t size);

// cp.async: nothing is there until its group was waited for.
void copy_later(void* shared, const void* global, size_t size);
void commit_copies();
void wait_for_copies(size_t under_way);

float float_of_half(unsigned short bits);
unsigned short half_of_float(float x);

} // namespace emulation
