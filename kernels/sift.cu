// Rules rows out by their 8-bit codes: what may be among a patch's k nearest goes to the survivors, in one pass.
// Caller: src/nearest/cuda/engine.rs, where there are tensor cores.

#include <codes.cuh>
#include <tiles.cuh>

#if FAROUT_ARCH >= 750
// Survivors that a block gathers before it hands them on.
constexpr unsigned GATHERED = 1024;

struct Sieve {
    u64* gathered;     // GATHERED: query and row
    float* bounds;     // GATHERED: their distance is no less
    Bar* bars;         // TILE
    unsigned* count;   // offered to `gathered`, also those for which it had no room
    unsigned* place;   // in the frame's survivors
};

// The bytes of shared memory behind the steps of the tiles. Mirror: geometry.rs.
static __device__ __forceinline__ Sieve sieve_at(unsigned char* shared) {
    Sieve s;
    s.gathered = reinterpret_cast<u64*>(shared);
    s.bounds = reinterpret_cast<float*>(s.gathered + GATHERED);
    s.bars = reinterpret_cast<Bar*>(s.bounds + GATHERED);
    s.count = reinterpret_cast<unsigned*>(s.bars + TILE);
    s.place = s.count + 1;
    return s;
}

// Nothing passes it.
static __device__ __forceinline__ Bar closed() { return {0, 0, -infinity()}; }

// At first everything passes.
static __device__ __forceinline__ void start(const Sieve& s, const PatchCode* patches) {
    for (int query = threadIdx.x; query < TILE; query += THREADS) {
        const PatchCode patch = patches[query];
        s.bars[query] = patch.sifted ? Bar{-2 * patch.scale, 0, 0x1.fffffep127f} : closed();
    }
    if (threadIdx.x == 0) {
        *s.count = 0;
    }
}

// Queries whose lists a warp sorts side by side, so that one waits while another works.
constexpr int BESIDE = 4;

// The keys of all lanes, ascending, of each list (bitonic sort).
static __device__ __forceinline__ void sort_keys(unsigned (&keys)[BESIDE]) {
    const unsigned lane = lane_id();
#pragma unroll
    for (int size = 2; size <= LIST; size *= 2) {
#pragma unroll
        for (int stride = size / 2; stride > 0; stride /= 2) {
            const bool smaller = ((lane & stride) == 0) == ((lane & size) == 0 || size == LIST);
#pragma unroll
            for (int i = 0; i < BESIDE; ++i) {
                const unsigned other = __shfl_xor_sync(WARP, keys[i], stride);
                keys[i] = smaller ? min(keys[i], other) : max(keys[i], other);
            }
        }
    }
}

// Lowers the bars to what is known by now, from all blocks: of 32 sets of rows the least upper bound each, of which the
// k-th is one of the k-th distance. Before and after it the block has to meet.
static __device__ __noinline__ void lower_bars(
    const Sieve s, const PatchCode* patches, const u64* least, unsigned k, unsigned c) {
    for (int first = warp_id() * BESIDE; first < TILE; first += THREADS / 32 * BESIDE) {
        unsigned sets[BESIDE];
#pragma unroll
        for (int i = 0; i < BESIDE; ++i) {
            sets[i] = static_cast<unsigned>(latest(least + (first + i) * LIST + lane_id()) >> 32);
        }
        sort_keys(sets);
#pragma unroll
        for (int i = 0; i < BESIDE; ++i) {
            const unsigned last = __shfl_sync(WARP, sets[i], k - 1);
            // One lane per query writes.
            if (lane_id() == static_cast<unsigned>(i) && last != ~0u && s.bars[first + i].bar > -infinity()) {
                const Bar bar = bar_at(patches[first + i], widened(key_of(static_cast<u64>(last) << 32), c));
                if (bar.bar < s.bars[first + i].bar) {
                    s.bars[first + i] = bar;
                }
            }
        }
    }
}

// The set of rows that a row is of, of 32: neighbours in the bank, which are often patches of one thing, are of different
// ones (multiplicative hashing, Knuth, The Art of Computer Programming 3, 6.4).
static __device__ __forceinline__ unsigned set_of(unsigned row) { return row * 0x9E3779B1u >> 27; }

// An upper bound of row and patch, for the row's set.
static __device__ __forceinline__ void note(const Problem& p, size_t patch, const RowCode& row, float most) {
    u64* set = p.least + patch * LIST + set_of(row.row);
    const u64 entry = entry_of(most, row.row);
    if (entry < latest(set)) {
        atomicMin(set, entry);
    }
}

// Of each eight rows the likeliest gives a first bound.
static __device__ __forceinline__ void prime(
    const Problem& p, const Sieve& s, const Products<int>& sums, const RowCode* rows, unsigned first_query) {
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int query = query_of(m, 2 * h);
            const float factor = s.bars[query].factor;
            float least = infinity();
            int place = 0;
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                const int at = row_in_tile(j >> 1, j);
                const float key = key_of_codes(rows[at], factor, sums[m][j >> 1][2 * h + (j & 1)]);
                if (key < least) {
                    least = key;
                    place = at;
                }
            }
            if (least < infinity() && s.bars[query].bar > -infinity()) {
                const size_t patch = first_query + query;
                note(p, patch, rows[place], bounds_of(p.patch_codes[patch], rows[place], least, p.reach).most);
            }
        }
    }
}

// Where a frame's survivors are kept.
struct Kept {
    unsigned* count;
    u64* survivors;
    float* bounds;
    unsigned room;
    unsigned* open; // of this block's tile of patches
};

static __device__ __forceinline__ Kept kept_of(const Problem& p) {
    return {p.counters + SURVIVORS, p.survivors, p.survivor_bounds, p.survivor_room, p.open_tiles + blockIdx.x};
}

// Hands what was gathered on to the frame's survivors. Where these are full, the tile of patches is left open, and
// nothing of it passes any more. Before and after it the block has to meet.
static __device__ __noinline__ void hand_on(const Sieve s, const Kept kept) {
    const unsigned count = min(*s.count, GATHERED);
    if (threadIdx.x == 0) {
        *s.place = atomicAdd(kept.count, count);
    }
    __syncthreads();
    const unsigned place = *s.place, room = kept.room - min(place, kept.room);
    for (unsigned i = threadIdx.x; i < min(count, room); i += THREADS) {
        kept.survivors[place + i] = s.gathered[i];
        kept.bounds[place + i] = s.bounds[i];
    }
    if (count > room) {
        for (int query = threadIdx.x; query < TILE; query += THREADS) {
            s.bars[query] = closed();
        }
        if (threadIdx.x == 0) {
            atomicMax(kept.open, 1u);
        }
    }
    if (threadIdx.x == 0) {
        *s.count = 0;
    }
}

// Gathers what passes of a tile.
static __device__ __forceinline__ void gather_passing(
    const Problem& p, const Sieve& s, const Products<int>& sums, const RowCode* rows, unsigned first_query) {
    // Bit 8 i + j: number j of the i-th of this thread's queries has yet to be gathered.
    u64 open = 0;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const Bar bar = s.bars[query_of(m, 2 * h)];
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                const RowCode& row = rows[row_in_tile(j >> 1, j)];
                const float key = key_of_codes(row, bar.factor, sums[m][j >> 1][2 * h + (j & 1)]);
                if (fmaf(bar.weight, row.slack, key) <= bar.bar) {
                    open |= 1ull << (8 * (2 * m + h) + j);
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
                const size_t patch = first_query + query;
                const PatchCode code = p.patch_codes[patch];
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    const u64 bit = 1ull << (8 * q + j);
                    if ((open & bit) == 0) {
                        continue;
                    }
                    const unsigned slot = atomicAdd(s.count, 1u);
                    if (slot >= GATHERED) {
                        continue;
                    }
                    const int place = row_in_tile(j >> 1, j);
                    const RowCode row = rows[place];
                    const float key = key_of_codes(row, -2 * code.scale, sums[q >> 1][j >> 1][2 * (q & 1) + (j & 1)]);
                    const Bounds bounds = bounds_of(code, row, key, p.reach);
                    s.gathered[slot] = static_cast<u64>(patch) << 32 | row.row;
                    s.bounds[slot] = bounds.least;
                    note(p, patch, row, bounds.most);
                    open &= ~bit;
                }
            }
        }
        // Where there was no room, the rest comes again after all was handed on.
        if (!__syncthreads_or(open != 0)) {
            return;
        }
        hand_on(s, kept_of(p));
        __syncthreads();
    }
}

template <bool stay>
static __device__ __forceinline__ void sift_split(const Problem& p, unsigned char* shared) {
    // Left to the halves already? One thread looks, for all: others may leave the tile open meanwhile.
    if (__syncthreads_or(threadIdx.x == 0 && latest(p.open_tiles + blockIdx.x) != 0)) {
        return;
    }
    const unsigned first_query = blockIdx.x * TILE;
    const unsigned first_tile = blockIdx.y * p.tiles_per_split;
    const unsigned end_tile = min(first_tile + p.tiles_per_split, p.padded_n / TILE);
    const unsigned steps = stay ? p.coded_c / STEP_WIDTH + FAROUT_STAGES : 2 * FAROUT_STAGES;
    const Sieve sieve = sieve_at(shared + steps * STEP_BYTES);
    start(sieve, p.patch_codes + first_query);

    // Tiles that are done. The first one comes twice, and only gives the first bars at first: lowering them takes the
    // registers of the products, so that these are made anew.
    unsigned done = 0;
    const RowCode* rows = p.row_codes + static_cast<size_t>(first_tile) * TILE;
    each_tile<int, stay>(
        shared, p.coded_queries + static_cast<size_t>(first_query) * (p.coded_c / 2),
        p.coded_rows + static_cast<size_t>(first_tile) * TILE * (p.coded_c / 2), p.coded_c,
        end_tile > first_tile ? end_tile - first_tile : 0, 1, [&](const Products<int>& sums) {
            if (done == 0) {
                prime(p, sieve, sums, rows, first_query);
                __syncthreads();
            } else {
                gather_passing(p, sieve, sums, rows, first_query);
                rows += TILE;
            }
            // At first, and after 1, 2, 4, 8, ... tiles: bars fall ever more slowly.
            if ((done & (done - 1)) == 0) {
                lower_bars(sieve, p.patch_codes + first_query, p.least + static_cast<size_t>(first_query) * LIST, p.k, p.c);
                __syncthreads();
            }
            ++done;
        });
    __syncthreads();
    hand_on(sieve, kept_of(p));
}

// survivors: all pairs of patch and row that may be among the patch's k nearest, and bounds of their distances; least:
// upper bounds. Tiles of patches for which there was no room are marked in open_tiles.
// Launch: grid (padded_t / 128, splits) of 256 threads; dynamic shared memory: the steps of the tiles (tiles.cuh) and the
// sieve (geometry.rs: sift_bytes), all codes of a tile of patches among them. Split s has tiles tiles_per_split s on.
extern "C" __global__ void __launch_bounds__(THREADS, FAROUT_BLOCKS) sift(const Problem p) {
    SHARED_MEMORY(shared);
    sift_split<true>(p, shared);
}

// The same for codes so wide that a tile of patches does not fit shared memory as a whole.
extern "C" __global__ void __launch_bounds__(THREADS, FAROUT_BLOCKS) sift_wide(const Problem p) {
    SHARED_MEMORY(shared);
    sift_split<false>(p, shared);
}
#endif
