// Measures what the sieve let through, exactly.
// Caller: src/nearest/cuda/engine.rs, after `sift`.

#include <codes.cuh>

#if FAROUT_ARCH >= 750

template <class Row>
static __device__ __forceinline__ float distance_to(const Problem& p, unsigned query, unsigned row) {
    return warp_distance(
        p, p.plain_queries + static_cast<size_t>(query) * p.c, static_cast<const Row*>(p.rows) + static_cast<size_t>(row) * p.c);
}

static __device__ __forceinline__ float measured(const Problem& p, unsigned query, unsigned row) {
    return p.row_type == F16 ? distance_to<half_bits>(p, query, row) : distance_to<float>(p, query, row);
}

// reaches: no row of a patch's k nearest is further, from the rows with the least upper bounds.
// Launch: ceil(padded_t / 8) blocks of 256 threads, a warp per patch; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) tighten(const Problem p) {
    const unsigned query = blockIdx.x * (THREADS / 32) + warp_id();
    if (query >= p.padded_t || !p.patch_codes[query].sifted || p.open_tiles[query / TILE] != 0) {
        return;
    }
    const u64 sets = sorted(p.least[static_cast<size_t>(query) * LIST + lane_id()]);
    const unsigned tried = min(2 * p.k, static_cast<unsigned>(LIST));
    u64 near = EMPTY;
    for (unsigned i = 0; i < tried; ++i) {
        const u64 set = __shfl_sync(WARP, sets, i);
        if (set == EMPTY) {
            break;
        }
        near = inserted(near, entry_of(measured(p, query, row_of(set)), row_of(set)));
    }
    const u64 last = __shfl_sync(WARP, near, p.k - 1);
    if (lane_id() == 0) {
        const float reach = last == EMPTY ? infinity() : widened(key_of(last) * power_of_two(p.exponent), p.c) + 1e-18f;
        p.reaches[query] = reach;
    }
}

// Puts an entry into an ascending list of k to which other warps add meanwhile. From the first place on, each place keeps
// the smaller entry, and the larger one is carried on: the list ends the same in whatever order the entries come.
static __device__ __forceinline__ void put_in_place(u64* near, unsigned k, u64 entry) {
    if (!(entry < latest(near + k - 1))) {
        return;
    }
    for (unsigned i = 0; i < k && entry != EMPTY; ++i) {
        const u64 before = atomicMin(near + i, entry);
        entry = before > entry ? before : entry;
    }
}

// near: the k nearest survivors of each patch.
// Launch: any number of blocks of 256 threads, a warp per 32 survivors and turn; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) measure(const Problem p) {
    const unsigned count = min(p.counters[SURVIVORS], p.survivor_room);
    for (unsigned first = (blockIdx.x * (THREADS / 32) + warp_id()) * 32; first < count; first += gridDim.x * THREADS) {
        const unsigned at = first + lane_id();
        const u64 pair = at < count ? p.survivors[at] : 0;
        const unsigned patch = static_cast<unsigned>(pair >> 32);
        // What is left to the halves is not measured here.
        const bool open = at < count && p.open_tiles[patch / TILE] == 0 && p.survivor_bounds[at] <= p.reaches[patch];
        for (unsigned left = __ballot_sync(WARP, open); left != 0; left &= left - 1) {
            const u64 next = __shfl_sync(WARP, pair, __ffs(static_cast<int>(left)) - 1);
            const unsigned query = static_cast<unsigned>(next >> 32), row = static_cast<unsigned>(next);
            const float distance = measured(p, query, row);
            if (lane_id() == 0) {
                put_in_place(p.near + static_cast<size_t>(query) * MOST_NEAR, p.k, entry_of(distance, row));
            }
        }
    }
}

// Results of all patches whose tile was sifted whole; they are done with.
// Launch: ceil(padded_t / 8) blocks of 256 threads, a warp per patch; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) conclude(const Problem p) {
    const unsigned query = blockIdx.x * (THREADS / 32) + warp_id();
    if (query >= p.padded_t) {
        return;
    }
    const bool open = p.open_tiles[query / TILE] != 0;
    if (query % TILE == 0 && lane_id() == 0 && open) {
        atomicAdd(p.counters + OPEN, 1u);
    }
    if (open || !p.patch_codes[query].sifted) {
        return;
    }
    write_nearest(p, query, lane_id() < p.k ? p.near[static_cast<size_t>(query) * MOST_NEAR + lane_id()] : EMPTY);
    if (lane_id() == 0) {
        p.facts[query].state = DONE;
    }
}
#endif
