// Makes the copy of a frame's patches for the products.
// Caller: src/nearest/cuda/engine.rs.

#include <distance.cuh>

// By how much a key plus the patch's squared norm can differ from the squared distance, in the bank's
// scale. With q, r the centred vectors and q', r' what half precision makes of them,
//     |q.r - q'.r'| <= |q - q'| |r'| + |q| |r - r'|,
// of which the residuals were measured, not estimated. A tensor core adds 16 products and a sum
// aligned to the largest of them and truncated to no fewer than 24 bits (Fasi, Higham, Mikaitis, Pranesh,
// Numerical behavior of NVIDIA tensor cores, 2021): each of C / 16 steps errs by at most
// 17 x 2^-23 |q'||r'|; twice that is allowed, which covers chains of fused multiply-adds too. Norms,
// centring, keys and their sum err by a few roundings of (|q| + |r|)^2 each.
static __device__ __forceinline__ float error_bound(const Problem& p, float norm, float residual) {
    const float row = p.reach + p.residual, both = norm + p.reach;
    const float product = residual * row + norm * p.residual
        + static_cast<float>(p.padded_c + 32) * 0x1.1p-22f * (norm + residual) * row;
    return 2.002f * product + (static_cast<float>(p.c) / 32 + 32) * 0x1p-24f * both * both + 1e-30f;
}

// Launch: ceil(padded_t / 8) blocks of 256 threads, a warp per patch; no shared memory.
// counters[FAULTS] is to be 0 before.
extern "C" __global__ void __launch_bounds__(THREADS) prepare_queries(const Problem p) {
    const unsigned query = blockIdx.x * (THREADS / 32) + warp_id();
    if (query >= p.padded_t) {
        return;
    }
    const size_t first = static_cast<size_t>(query) * p.c;
    Fact fact = {0, 0, infinity(), 0, query < p.t ? SEARCHED : ABSENT};
    float largest = 0;
    bool sound = true;
    if (query < p.t) {
        for (unsigned i = lane_id(); i < p.c; i += 32) {
            const float x = load(p.queries, p.query_type, first + i);
            if (p.query_type != F32) {
                p.plain_queries[first + i] = x;
            }
            sound = sound && finite(x);
            largest = fmaxf(largest, fabsf(x - p.mean[i]));
        }
        sound = __all_sync(WARP, sound);
        largest = warp_max(largest);
        if (!sound) {
            fact.state = FAULTY;
            if (lane_id() == 0) {
                atomicAdd(p.counters + FAULTS, 1u);
            }
        }
    }
    // Patches much nearer to the mean than the bank need no scale of their own; of much farther ones
    // the products would leave the range of single precision.
    int exponent = p.exponent;
    if (fact.state == SEARCHED && largest > 0) {
        const int fitting = finite(largest) ? fitting_exponent(largest, p.c) : -1000;
        if (fitting < p.exponent - 40) {
            fact.state = MEASURED;
        }
        exponent = min(max(fitting, p.exponent - 40), p.exponent + 60);
    }
    const float scale = power_of_two(exponent), ratio = power_of_two(p.exponent - exponent);
    float square = 0, residual = 0, plain = 0;
    for (unsigned i = lane_id(); i < p.padded_c; i += 32) {
        float x = 0;
        if (fact.state == SEARCHED && i < p.c) {
            const float given = load(p.queries, p.query_type, first + i);
            x = (given - p.mean[i]) * scale;
            plain = fmaf(given * scale, given * scale, plain);
        }
        const half_bits rounded = half_of_float(x);
        const float rest = x - float_of_half(rounded);
        square = fmaf(x, x, square);
        residual = fmaf(rest, rest, residual);
        p.centred_queries[static_cast<size_t>(query) * p.padded_c + i] = rounded;
    }
    const float norm = sqrtf(warp_sum(square)) * ratio;
    const float rest = sqrtf(warp_sum(residual)) * ratio;
    const float plain_norm = sqrtf(warp_sum(plain)) * ratio;
    if (fact.state == SEARCHED) {
        fact.factor = 2 * ratio;
        fact.square = norm * norm;
        fact.error = error_bound(p, norm * 1.0001f, rest * 1.0001f);
        fact.norm = fminf(norm, plain_norm);
        if (!finite(fact.square) || !finite(fact.error)) {
            fact.state = MEASURED;
        }
    }
    if (lane_id() == 0) {
        p.facts[query] = fact;
    }
}
