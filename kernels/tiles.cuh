// Walks tiles of rows past one tile of queries: both come to shared memory step by step, and the products of
// each pair of tiles are handed over when they are complete.
#pragma once

#include <product.cuh>

// One step of both tiles, 64 bytes of 128 queries and of 128 rows, as 16-byte chunks: four per thread.
struct Cursor {
    const unsigned char* queries; // this thread's first chunk of the next step
    const unsigned char* rows;
    unsigned step;                // within the tile
    unsigned again;               // tiles that come once more before the next one
};

static __device__ __forceinline__ Cursor cursor_at(const void* queries, const void* rows, unsigned width, unsigned again) {
    const size_t at = static_cast<size_t>(threadIdx.x >> 2) * width + (threadIdx.x & 3) * 16;
    return {static_cast<const unsigned char*>(queries) + at, static_cast<const unsigned char*>(rows) + at, 0, again};
}

static __device__ __forceinline__ void advance(Cursor& cursor, unsigned width) {
    cursor.queries += STEP_WIDTH;
    cursor.rows += STEP_WIDTH;
    if (++cursor.step == width / STEP_WIDTH) {
        // On to the next tile of rows, with the same queries.
        cursor.step = 0;
        cursor.queries -= width;
        cursor.rows -= width;
        if (cursor.again > 0) {
            --cursor.again;
        } else {
            cursor.rows += static_cast<size_t>(TILE) * width;
        }
    }
}

static __device__ __forceinline__ int place_of_chunk(int part) {
    return chunk_at((threadIdx.x >> 2) + part * (TILE / 2), threadIdx.x & 3);
}

#if FAROUT_ARCH >= 800
static __device__ __forceinline__ void fetch(const Cursor& cursor, unsigned char* stage, unsigned width) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        const size_t from = static_cast<size_t>(part) * (TILE / 2) * width;
        copy_async(stage + place_of_chunk(part), cursor.queries + from);
        copy_async(stage + STEP_BYTES + place_of_chunk(part), cursor.rows + from);
    }
}
#else
static __device__ __forceinline__ void fetch(const Cursor& cursor, uint4 (&held)[4], unsigned width) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        const size_t from = static_cast<size_t>(part) * (TILE / 2) * width;
        held[part] = *reinterpret_cast<const uint4*>(cursor.queries + from);
        held[2 + part] = *reinterpret_cast<const uint4*>(cursor.rows + from);
    }
}

static __device__ __forceinline__ void put(const uint4 (&held)[4], unsigned char* stage) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        *reinterpret_cast<uint4*>(stage + place_of_chunk(part)) = held[part];
        *reinterpret_cast<uint4*>(stage + STEP_BYTES + place_of_chunk(part)) = held[2 + part];
    }
}
#endif

// Calls done(products) for each of `tiles` tiles of rows, in order, the first of them `again` times more. Queries and
// rows are `width` bytes each, a multiple of 64. `stages` is shared memory for FAROUT_STAGES steps of 16 KiB. In `done` the
// block may meet. The caller's writes to shared memory before this are seen by `done` in all threads.
template <class Number, class Done>
static __device__ __forceinline__ void each_tile(
    unsigned char* stages, const void* queries, const void* rows, unsigned width, unsigned tiles, unsigned again,
    const Done& done) {
    const unsigned steps_per_tile = width / STEP_WIDTH;
    const unsigned steps = tiles > 0 ? (tiles + again) * steps_per_tile : 0;
    Cursor cursor = cursor_at(queries, rows, width, again);
    Products<Number> sums = {};
    unsigned in_tile = 0;

#if FAROUT_ARCH >= 800
    // The stages are a ring; while one is used, the others fill.
#pragma unroll
    for (unsigned ahead = 0; ahead < FAROUT_STAGES - 1; ++ahead) {
        if (ahead < steps) {
            fetch(cursor, stages + ahead * 2 * STEP_BYTES, width);
            advance(cursor, width);
        }
        copies_commit();
    }
    unsigned stage = 0, filling = FAROUT_STAGES - 1;
#else
    uint4 held[4];
    if (steps > 0) {
        fetch(cursor, held, width);
        advance(cursor, width);
        put(held, stages);
    }
    unsigned stage = 0;
#endif
    for (unsigned step = 0; step < steps; ++step) {
#if FAROUT_ARCH >= 800
        copies_wait<FAROUT_STAGES - 2>();
        // Now this step has come for all threads, and none reads the stage of the step before.
        __syncthreads();
        if (step + FAROUT_STAGES - 1 < steps) {
            fetch(cursor, stages + filling * 2 * STEP_BYTES, width);
            advance(cursor, width);
        }
        copies_commit();
        filling = filling + 1 == FAROUT_STAGES ? 0 : filling + 1;
#else
        __syncthreads();
        if (step + 1 < steps) {
            fetch(cursor, held, width);
            advance(cursor, width);
        }
#endif
        const unsigned char* part = stages + stage * 2 * STEP_BYTES;
        add_products(sums, part, part + STEP_BYTES);
        stage = stage + 1 == FAROUT_STAGES ? 0 : stage + 1;
#if FAROUT_ARCH < 800
        if (step + 1 < steps) {
            put(held, stages + stage * 2 * STEP_BYTES);
        }
#endif
        if (++in_tile == steps_per_tile) {
            in_tile = 0;
            done(sums);
#pragma unroll
            for (int i = 0; i < 64; ++i) {
                sums[i >> 4][i >> 2 & 3][i & 3] = 0;
            }
        }
    }
}
