// Measures the candidates exactly and proves that no other row is nearer.
// Caller: src/nearest/cuda/engine.rs.

#include <distance.cuh>

// A neighbour may be this much too far, relative to its distance, or to the norm of the patch, before
// the whole bank is measured. The promise is twice as wide.
constexpr float RELATIVE_SLACK = 5e-5f;
constexpr float NORM_SLACK = 5e-7f;

template <class Row>
static __device__ __forceinline__ void refine_patch(const Problem& p, unsigned query) {
    const unsigned lane = lane_id();
    const Fact fact = p.facts[query];
    if (fact.state == FAULTY) {
        if (lane == 0) {
            p.distances[query] = infinity();
        }
        if (lane < p.k) {
            p.near_distances[static_cast<size_t>(query) * p.k + lane] = infinity();
            p.near_rows[static_cast<size_t>(query) * p.k + lane] = ~0u;
        }
        return;
    }
    if (fact.state == MEASURED) {
        if (lane == 0) {
            p.unproven[atomicAdd(p.counters + UNPROVEN, 1u)] = query;
        }
        return;
    }
    u64 list = EMPTY;
    for (unsigned split = 0; split < p.splits; ++split) {
        const u64* other = p.lists + (static_cast<size_t>(split) * p.padded_t + query) * LIST;
        list = merged(list, lane < p.kept ? other[lane] : EMPTY);
    }
    const unsigned count = __popc(__ballot_sync(WARP, lane < p.kept && list != EMPTY));
    const float* plain = p.plain_queries + static_cast<size_t>(query) * p.c;
    const float scale = power_of_two(p.exponent);
    u64 near = EMPTY;
    float kth = infinity(), lowest = -infinity();
    bool proven = false;
    for (unsigned i = 0; i < count; ++i) {
        const u64 entry = __shfl_sync(WARP, list, i);
        // No later candidate, and no row that is not one, is nearer than the root of this.
        lowest = key_of(entry) + fact.square - fact.error;
        if (kth * kth * 1.00001f < lowest) {
            proven = true;
            break;
        }
        const Row* row = static_cast<const Row*>(p.rows) + static_cast<size_t>(row_of(entry)) * p.c;
        near = inserted(near, entry_of(warp_distance(p, plain, row), row_of(entry)));
        const u64 last = __shfl_sync(WARP, near, p.k - 1);
        kth = last == EMPTY ? infinity() : key_of(last) * scale;
    }
    if (!proven) {
        proven = count == p.n
            || (count == p.kept
                && sqrtf(fmaxf(lowest, 0.0f)) >= kth * (1 - RELATIVE_SLACK) - NORM_SLACK * fact.norm);
    }
    if (proven) {
        write_nearest(p, query, near);
    } else if (lane == 0) {
        p.unproven[atomicAdd(p.counters + UNPROVEN, 1u)] = query;
    }
}

// distances, near_distances and near_rows of all patches that can be proven; the others into
// `unproven`. counters[UNPROVEN] is to be 0 before.
// Launch: ceil(t / 8) blocks of 256 threads, a warp per patch; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) refine(const Problem p) {
    const unsigned query = blockIdx.x * (THREADS / 32) + warp_id();
    if (query >= p.t || p.facts[query].state == DONE) {
        return;
    }
    if (p.row_type == F16) {
        refine_patch<half_bits>(p, query);
    } else {
        refine_patch<float>(p, query);
    }
}
