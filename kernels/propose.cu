// Lists each patch's likeliest rows: products and selection in one pass, no distance touches memory.
// Caller: src/nearest/cuda/engine.rs.

#include <candidates.cuh>

// One step of both tiles, 32 numbers of 128 queries and of 128 rows, as 16-byte chunks: four per thread.
struct Cursor {
    const half_bits* queries; // this thread's first chunk of the next step
    const half_bits* rows;
    unsigned step;            // within the tile
};

static __device__ __forceinline__ Cursor cursor_at(const half_bits* queries, const half_bits* rows, unsigned width) {
    const size_t at = static_cast<size_t>(threadIdx.x >> 2) * width + (threadIdx.x & 3) * 8;
    return {queries + at, rows + at, 0};
}

static __device__ __forceinline__ void advance(Cursor& cursor, unsigned width) {
    cursor.queries += DEPTH;
    cursor.rows += DEPTH;
    if (++cursor.step == width / DEPTH) {
        // On to the next tile of rows, with the same queries.
        cursor.step = 0;
        cursor.queries -= width;
        cursor.rows += static_cast<size_t>(TILE - 1) * width;
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

// lists[split][query]: the `kept` smallest keys of the split's rows and those rows, ascending; entries
// from `kept` on are of no meaning. Key: |r|^2 - 2 q.r, centred and in the bank's scale.
// Launch: grid (padded_t / 128, splits) of 256 threads; dynamic shared memory: FAROUT_STAGES steps of
// 16 KiB and the candidates (geometry.rs: shared_bytes). Split s has tiles tiles_per_split s on.
extern "C" __global__ void __launch_bounds__(THREADS, FAROUT_BLOCKS) propose(const Problem p) {
    SHARED_MEMORY(shared);
    const unsigned first_query = blockIdx.x * TILE, width = p.padded_c;
    const unsigned first_tile = blockIdx.y * p.tiles_per_split;
    const unsigned end_tile = min(first_tile + p.tiles_per_split, p.padded_n / TILE);
    const unsigned steps_per_tile = width / DEPTH;
    const unsigned steps = end_tile > first_tile ? (end_tile - first_tile) * steps_per_tile : 0;

    const Candidates candidates = candidates_at(
        shared + FAROUT_STAGES * 2 * STEP_BYTES,
        p.lists + (static_cast<size_t>(blockIdx.y) * p.padded_t + first_query) * LIST);
    start(candidates, p.facts + first_query);

    Cursor cursor = cursor_at(
        p.centred_queries + static_cast<size_t>(first_query) * width,
        p.centred_rows + static_cast<size_t>(first_tile) * TILE * width, width);
    Sums sums = {};
    unsigned in_tile = 0, tile = first_tile;

#if FAROUT_ARCH >= 800
    // The stages are a ring; while one is used, the others fill.
#pragma unroll
    for (unsigned ahead = 0; ahead < FAROUT_STAGES - 1; ++ahead) {
        if (ahead < steps) {
            fetch(cursor, shared + ahead * 2 * STEP_BYTES, width);
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
        put(held, shared);
    }
    unsigned stage = 0;
#endif
    for (unsigned step = 0; step < steps; ++step) {
#if FAROUT_ARCH >= 800
        copies_wait<FAROUT_STAGES - 2>();
        // Now this step has come for all threads, and none reads the stage of the step before.
        __syncthreads();
        if (step + FAROUT_STAGES - 1 < steps) {
            fetch(cursor, shared + filling * 2 * STEP_BYTES, width);
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
        const unsigned char* queries = shared + stage * 2 * STEP_BYTES;
        add_products(sums, queries, queries + STEP_BYTES);
        stage = stage + 1 == FAROUT_STAGES ? 0 : stage + 1;
#if FAROUT_ARCH < 800
        if (step + 1 < steps) {
            put(held, shared + stage * 2 * STEP_BYTES);
        }
#endif
        if (++in_tile == steps_per_tile) {
            in_tile = 0;
            offer(candidates, sums, p.norms + static_cast<size_t>(tile) * TILE, tile * TILE, p.kept);
            ++tile;
#pragma unroll
            for (int i = 0; i < 64; ++i) {
                sums[i >> 4][i >> 2 & 3][i & 3] = 0;
            }
        }
    }
    __syncthreads();
    settle(candidates, p.kept);
}
