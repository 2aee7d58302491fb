// Makes the 8-bit codes: of the bank once, when it is opened; of each frame's patches.
// Caller: src/nearest/cuda/bank.rs, src/nearest/cuda/engine.rs, where there are tensor cores.

#include <codes.cuh>

#if FAROUT_ARCH >= 750

// coded_rows and row_codes, all of the padding too. Place i of tile t holds row i x tiles + t: each tile is a sample of
// the whole bank, so that a few tiles tell how near a patch's nearest rows will be.
// Launch: any number of blocks of 256 threads, a warp per row and turn; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) encode_bank(const Problem p) {
    const float scale = power_of_two(p.exponent);
    const unsigned tiles = p.padded_n / TILE;
    for (unsigned at = blockIdx.x * (THREADS / 32) + warp_id(); at < p.padded_n; at += gridDim.x * (THREADS / 32)) {
        const unsigned row = at % TILE * tiles + at / TILE;
        const size_t first = static_cast<size_t>(row) * p.c;
        const auto number = [&](unsigned i) { return (load(p.rows, p.row_type, first + i) - p.mean[i]) * scale; };
        unsigned short* code = p.coded_rows + static_cast<size_t>(at) * (p.coded_c / 2);
        const Code made = encode(number, p.coded_c / BLOCK, row < p.n ? p.c : 0, code);
        if (lane_id() == 0) {
            RowCode known = {0, infinity(), 0, ~0u};
            if (row < p.n) {
                const float slack = made.slack * made.slack;
                known = {made.scale, made.square - slack - MARGIN * (made.square + slack), made.slack, row};
            }
            p.row_codes[at] = known;
        }
    }
}

// coded_queries and patch_codes; empties what the frame's survivors are gathered in. Tiles with a patch that codes are no
// good for are left open. counters and open_tiles are to be 0 before; facts are those of prepare_queries.
// Launch: ceil(padded_t / 8) blocks of 256 threads, a warp per patch; no shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) encode_queries(const Problem p) {
    const unsigned query = blockIdx.x * (THREADS / 32) + warp_id();
    if (query >= p.padded_t) {
        return;
    }
    const float scale = power_of_two(p.exponent);
    const bool searched = p.facts[query].state == SEARCHED;
    const size_t first = static_cast<size_t>(query) * p.c;
    const auto number = [&](unsigned i) { return (p.plain_queries[first + i] - p.mean[i]) * scale; };
    unsigned short* code = p.coded_queries + static_cast<size_t>(query) * (p.coded_c / 2);
    const Code made = encode(number, p.coded_c / BLOCK, searched ? p.c : 0, code);
    const bool good = made.slack <= MOST_SLACK * p.reach;
    if (lane_id() == 0) {
        p.patch_codes[query] = {made.scale, made.square, made.slack, searched && good};
        if (searched && !good) {
            atomicMax(p.open_tiles + query / TILE, 1u);
        }
    }
    p.least[static_cast<size_t>(query) * LIST + lane_id()] = EMPTY;
    if (lane_id() < MOST_NEAR) {
        p.near[static_cast<size_t>(query) * MOST_NEAR + lane_id()] = EMPTY;
    }
}
#endif
