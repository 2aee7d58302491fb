// The candidates of a tile's queries: what passes a query's bar goes to its queue in shared memory;
// when a queue is full, all queues are sorted into the lists, and the bars are lowered. Bars are
// rarely passed once a few thousand rows have gone by, and mostly nothing but a comparison is done.
#pragma once

#include <lists.cuh>
#include <product.cuh>

struct Candidates {
    u64* queues;    // TILE x FAROUT_QUEUE
    u64* limits;    // TILE: the last entry that is kept; what is not below it is of no interest
    float* bars;    // TILE: its key
    float* factors; // TILE
    unsigned* counts; // TILE: entries offered to the queue, also those for which it had no room
    u64* lists;     // TILE x LIST, in global memory: each list is only ever touched by one warp
};

// The bytes of shared memory behind the steps of the tiles. Mirror: geometry.rs.
static __device__ __forceinline__ Candidates candidates_at(unsigned char* shared, u64* lists) {
    Candidates c;
    c.queues = reinterpret_cast<u64*>(shared);
    c.limits = c.queues + TILE * FAROUT_QUEUE;
    c.bars = reinterpret_cast<float*>(c.limits + TILE);
    c.factors = c.bars + TILE;
    c.counts = reinterpret_cast<unsigned*>(c.factors + TILE);
    c.lists = lists;
    return c;
}

// Empties lists and queues. A patch that is not to be searched has a bar that nothing passes.
static __device__ __forceinline__ void start(const Candidates& c, const Fact* facts) {
    for (int query = threadIdx.x; query < TILE; query += THREADS) {
        const Fact fact = facts[query];
        const bool searched = fact.state == SEARCHED;
        c.limits[query] = searched ? EMPTY : 0;
        c.bars[query] = searched ? 0x1.fffffep127f : -infinity();
        c.factors[query] = fact.factor;
        c.counts[query] = 0;
    }
    for (int query = warp_id(); query < TILE; query += THREADS / 32) {
        c.lists[query * LIST + lane_id()] = EMPTY;
    }
}

// Sorts the queues into the lists. Before and after it the block has to meet.
static __device__ __noinline__ void settle(const Candidates c, unsigned kept) {
    const unsigned lane = lane_id();
    for (int query = warp_id(); query < TILE; query += THREADS / 32) {
        const unsigned count = min(c.counts[query], static_cast<unsigned>(FAROUT_QUEUE));
        if (count == 0) {
            continue;
        }
        const u64 queued = lane < count ? c.queues[query * FAROUT_QUEUE + lane] : EMPTY;
        const u64 list = merged(c.lists[query * LIST + lane], sorted(queued));
        c.lists[query * LIST + lane] = list;
        const u64 limit = __shfl_sync(WARP, list, kept - 1);
        // All lanes have read the count.
        __syncwarp();
        if (lane == 0) {
            c.counts[query] = 0;
            if (limit != EMPTY) {
                c.limits[query] = limit;
                c.bars[query] = key_of(limit);
            }
        }
    }
}

// Offers the keys of a tile, whose first row is `first`; `norms` are those of its rows.
static __device__ __forceinline__ void offer(const Candidates& c, Products<float>& sums, const float* norms, unsigned first, unsigned kept) {
    // Bit 8 i + j: number j of the i-th of this thread's queries has yet to be offered.
    u64 open = 0;
    float norm[4][2];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        norm[n][0] = norms[row_in_tile(n, 0)];
        norm[n][1] = norms[row_in_tile(n, 1)];
    }
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int query = query_of(m, 2 * h);
            const float factor = c.factors[query], bar = c.bars[query];
            float least = infinity();
#pragma unroll
            for (int n = 0; n < 4; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& key = sums[m][n][2 * h + i];
                    key = fmaf(-factor, key, norm[n][i]);
                    least = fminf(least, key);
                }
            }
            if (least <= bar) {
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    if (sums[m][j >> 1][2 * h + (j & 1)] <= bar) {
                        open |= 1ull << (8 * (2 * m + h) + j);
                    }
                }
            }
        }
    }
    while (true) {
        if (open != 0) {
#pragma unroll
            for (int q = 0; q < 8; ++q) {
                if ((open >> (8 * q) & 0xff) == 0) {
                    continue;
                }
                const int query = query_of(q >> 1, 2 * (q & 1));
                const u64 limit = c.limits[query];
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    const u64 bit = 1ull << (8 * q + j);
                    if ((open & bit) == 0) {
                        continue;
                    }
                    const u64 entry = entry_of(sums[q >> 1][j >> 1][2 * (q & 1) + (j & 1)], first + row_in_tile(j >> 1, j));
                    if (entry < limit) {
                        const unsigned slot = atomicAdd(c.counts + query, 1u);
                        if (slot >= FAROUT_QUEUE) {
                            continue;
                        }
                        c.queues[query * FAROUT_QUEUE + slot] = entry;
                    }
                    open &= ~bit;
                }
            }
        }
        // Where a queue had no room, its entries come again after it was emptied.
        if (!__syncthreads_or(open != 0)) {
            return;
        }
        settle(c, kept);
        __syncthreads();
    }
}
