// Measures the whole bank for the patches of which rounding hides the nearest rows.
// Caller: src/nearest/cuda/engine.rs, always: without such patches both kernels end at once.

#include <distance.cuh>

// Patches and rows that a warp measures at once.
constexpr int GROUP = 4;

template <class Row>
static __device__ __forceinline__ void rescan_rows(const Problem& p, unsigned begin, unsigned end, u64* shared) {
    const unsigned lane = lane_id(), warp = warp_id();
    const float scale = power_of_two(p.exponent);
    const Row* rows = static_cast<const Row*>(p.rows);
    const unsigned share = (p.n + RESCAN_SPLITS - 1) / RESCAN_SPLITS;
    const unsigned first_row = blockIdx.x * share, end_row = min(first_row + share, p.n);
    for (unsigned first = begin + blockIdx.y * GROUP; first < end; first += gridDim.y * GROUP) {
        const float* queries[GROUP];
        u64 near[GROUP], last[GROUP];
#pragma unroll
        for (int g = 0; g < GROUP; ++g) {
            // An incomplete group measures its first patch again.
            queries[g] = p.plain_queries + static_cast<size_t>(p.unproven[first + g < end ? first + g : first]) * p.c;
            near[g] = last[g] = EMPTY;
        }
        for (unsigned row = first_row + warp * GROUP; row < end_row; row += THREADS / 32 * GROUP) {
            float sums[GROUP][GROUP] = {};
            for (unsigned i = lane; i < p.c; i += 32) {
                float x[GROUP];
#pragma unroll
                for (int j = 0; j < GROUP; ++j) {
                    x[j] = number(rows[static_cast<size_t>(min(row + j, end_row - 1)) * p.c + i]);
                }
#pragma unroll
                for (int g = 0; g < GROUP; ++g) {
                    const float query = queries[g][i];
#pragma unroll
                    for (int j = 0; j < GROUP; ++j) {
                        const float difference = (query - x[j]) * scale;
                        sums[g][j] = fmaf(difference, difference, sums[g][j]);
                    }
                }
            }
#pragma unroll
            for (int g = 0; g < GROUP; ++g) {
#pragma unroll
                for (int j = 0; j < GROUP; ++j) {
                    if (row + j < end_row) {
                        const float distance = distance_of(
                            warp_sum(sums[g][j]), p, queries[g], rows + static_cast<size_t>(row + j) * p.c);
                        const u64 entry = entry_of(distance, row + j);
                        if (entry < last[g]) {
                            near[g] = inserted(near[g], entry);
                            last[g] = __shfl_sync(WARP, near[g], p.k - 1);
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int g = 0; g < GROUP; ++g) {
            shared[(warp * GROUP + g) * LIST + lane] = near[g];
        }
        __syncthreads();
        if (warp < GROUP && first + warp < end) {
            u64 list = EMPTY;
            for (int other = 0; other < THREADS / 32; ++other) {
                list = merged(list, shared[(other * GROUP + warp) * LIST + lane]);
            }
            if (lane < MOST_NEAR) {
                p.rescans[(static_cast<size_t>(first + warp - begin) * RESCAN_SPLITS + blockIdx.x) * MOST_NEAR + lane] = list;
            }
        }
        __syncthreads();
    }
}

// rescans[i][split]: the k nearest rows of patch unproven[WAVE wave + i] among the rows of the split, by
// distance; entries from k on are of no meaning.
// Launch: grid (RESCAN_SPLITS, any number) of 256 threads; dynamic shared memory: 8 KiB, a list per
// warp and patch of a group.
extern "C" __global__ void __launch_bounds__(THREADS) rescan(const Problem p) {
    SHARED_MEMORY(shared);
    const unsigned begin = p.wave * WAVE, end = min(p.counters[UNPROVEN], begin + WAVE);
    if (p.row_type == F16) {
        rescan_rows<half_bits>(p, begin, end, reinterpret_cast<u64*>(shared));
    } else {
        rescan_rows<float>(p, begin, end, reinterpret_cast<u64*>(shared));
    }
}

// The results of the same patches.
// Launch: ceil(min(t, WAVE) / 8) blocks of 256 threads, a warp per patch; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) gather(const Problem p) {
    const unsigned begin = p.wave * WAVE, at = blockIdx.x * (THREADS / 32) + warp_id();
    if (begin + at >= min(p.counters[UNPROVEN], begin + WAVE)) {
        return;
    }
    u64 list = EMPTY;
    for (int split = 0; split < RESCAN_SPLITS; ++split) {
        const u64* other = p.rescans + (static_cast<size_t>(at) * RESCAN_SPLITS + split) * MOST_NEAR;
        list = merged(list, lane_id() < p.k ? other[lane_id()] : EMPTY);
    }
    write_nearest(p, p.unproven[begin + at], list);
}
