// Walks tiles of rows past one tile of queries: they come to shared memory step by step, and the products of
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
// Starts to copy a step of queries or of rows, from this thread's first chunk on.
static __device__ __forceinline__ void copy_step(unsigned char* to, const unsigned char* from, unsigned width) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        copy_async(to + place_of_chunk(part), from + static_cast<size_t>(part) * (TILE / 2) * width);
    }
}
#else
static __device__ __forceinline__ void hold(uint4 (&held)[2], const unsigned char* from, unsigned width) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        held[part] = *reinterpret_cast<const uint4*>(from + static_cast<size_t>(part) * (TILE / 2) * width);
    }
}

static __device__ __forceinline__ void put(const uint4 (&held)[2], unsigned char* to) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        *reinterpret_cast<uint4*>(to + place_of_chunk(part)) = held[part];
    }
}
#endif

// Where a tile of queries and the steps of the tiles lie in shared memory. Mirror: geometry.rs.
//
// Either all queries stay there, and a stage is a step of rows, or a stage is a step of queries and one of rows.
template <bool stay>
struct Stages {
    unsigned char* shared;
    unsigned steps_per_tile;

    __device__ __forceinline__ unsigned char* rows(unsigned stage) const {
        return stay ? shared + (steps_per_tile + stage) * STEP_BYTES : shared + (2 * stage + 1) * STEP_BYTES;
    }
    __device__ __forceinline__ unsigned char* queries(unsigned stage, unsigned step) const {
        return shared + (stay ? step : 2 * stage) * STEP_BYTES;
    }
};

// Calls done(products) for each of `tiles` tiles of rows, in order, the first of them `again` times more. Queries and
// rows are `width` bytes each, a multiple of 64. `shared` is memory for FAROUT_STAGES steps of 16 KiB, or, where queries
// `stay`, for them and as many steps of 8 KiB. In `done` the block may meet. The caller's writes to shared memory
// before this are seen by `done` in all threads.
template <class Number, bool stay, class Done>
static __device__ __forceinline__ void each_tile(
    unsigned char* shared, const void* queries, const void* rows, unsigned width, unsigned tiles, unsigned again,
    const Done& done) {
    const unsigned steps_per_tile = width / STEP_WIDTH;
    const unsigned steps = tiles > 0 ? (tiles + again) * steps_per_tile : 0;
    const Stages<stay> stages = {shared, steps_per_tile};
    Cursor cursor = cursor_at(queries, rows, width, again);
    Products<Number> sums = {};
    unsigned in_tile = 0;

#if FAROUT_ARCH >= 800
    if (stay && steps > 0) {
        // Part of the first group.
        for (unsigned step = 0; step < steps_per_tile; ++step) {
            copy_step(stages.queries(0, step), cursor.queries + step * STEP_WIDTH, width);
        }
    }
    const auto fetch = [&](unsigned stage) {
        if (!stay) {
            copy_step(stages.queries(stage, 0), cursor.queries, width);
        }
        copy_step(stages.rows(stage), cursor.rows, width);
        advance(cursor, width);
    };
    // The stages are a ring; while one is used, the others fill.
#pragma unroll
    for (unsigned ahead = 0; ahead < FAROUT_STAGES - 1; ++ahead) {
        if (ahead < steps) {
            fetch(ahead);
        }
        copies_commit();
    }
    unsigned stage = 0, filling = FAROUT_STAGES - 1;
#else
    uint4 held[2][2];
    if (stay && steps > 0) {
        for (unsigned step = 0; step < steps_per_tile; ++step) {
            hold(held[0], cursor.queries + step * STEP_WIDTH, width);
            put(held[0], stages.queries(0, step));
        }
    }
    const auto fetch = [&]() {
        if (!stay) {
            hold(held[0], cursor.queries, width);
        }
        hold(held[1], cursor.rows, width);
        advance(cursor, width);
    };
    const auto place = [&](unsigned stage) {
        if (!stay) {
            put(held[0], stages.queries(stage, 0));
        }
        put(held[1], stages.rows(stage));
    };
    if (steps > 0) {
        fetch();
        place(0);
    }
    unsigned stage = 0;
#endif
    for (unsigned step = 0; step < steps; ++step) {
#if FAROUT_ARCH >= 800
        copies_wait<FAROUT_STAGES - 2>();
        // Now this step has come for all threads, and none reads the stage of the step before.
        __syncthreads();
        if (step + FAROUT_STAGES - 1 < steps) {
            fetch(filling);
        }
        copies_commit();
        filling = filling + 1 == FAROUT_STAGES ? 0 : filling + 1;
#else
        __syncthreads();
        if (step + 1 < steps) {
            fetch();
        }
#endif
        add_products(sums, stages.queries(stage, in_tile), stages.rows(stage));
        stage = stage + 1 == FAROUT_STAGES ? 0 : stage + 1;
#if FAROUT_ARCH < 800
        if (step + 1 < steps) {
            place(stage);
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
