// Lists each patch's likeliest rows: products and selection in one pass, no distance touches memory.
// Caller: src/nearest/cuda/engine.rs.

#include <candidates.cuh>
#include <tiles.cuh>

// lists[split][query]: the `kept` smallest keys of the split's rows and those rows, ascending; entries
// from `kept` on are of no meaning. Key: |r|^2 - 2 q.r, centred and in the bank's scale.
// Where a frame was sifted, only for the tiles of patches that are still open.
// Launch: grid (padded_t / 128, splits) of 256 threads; dynamic shared memory: FAROUT_STAGES steps of
// 16 KiB and the candidates (geometry.rs: propose_bytes). Split s has tiles tiles_per_split s on.
extern "C" __global__ void __launch_bounds__(THREADS, FAROUT_BLOCKS) propose(const Problem p) {
    if (p.sifting && p.open_tiles[blockIdx.x] == 0) {
        return;
    }
    SHARED_MEMORY(shared);
    const unsigned first_query = blockIdx.x * TILE, width = p.padded_c;
    const unsigned first_tile = blockIdx.y * p.tiles_per_split;
    const unsigned end_tile = min(first_tile + p.tiles_per_split, p.padded_n / TILE);

    const Candidates candidates = candidates_at(
        shared + FAROUT_STAGES * 2 * STEP_BYTES,
        p.lists + (static_cast<size_t>(blockIdx.y) * p.padded_t + first_query) * LIST);
    start(candidates, p.facts + first_query);

    unsigned tile = first_tile;
    each_tile<float, false>(
        shared, p.centred_queries + static_cast<size_t>(first_query) * width,
        p.centred_rows + static_cast<size_t>(first_tile) * TILE * width, width * 2,
        end_tile > first_tile ? end_tile - first_tile : 0, 0, [&](Products<float>& sums) {
            offer(candidates, sums, p.norms + static_cast<size_t>(tile) * TILE, tile * TILE, p.kept);
            ++tile;
        });
    __syncthreads();
    settle(candidates, p.kept);
}
