#!/usr/bin/env python3
"""Times the GPU peers on the features that benches/gpu.rs has just searched, and prints the table.

Each peer answers the same question, the mean L2 distance to the k nearest of features that are on the
device, the answer read back; its answer is compared with a float64 one on 50 patches first. A peer that cannot be
imported is left out and named.
"""

import json
import pathlib
import statistics
import sys
import time


def halves(path, width):
    import numpy

    return numpy.fromfile(path, dtype="<f2").reshape(-1, width)


def median_seconds(work):
    for _ in range(5):
        work()
    seconds = []
    while len(seconds) < 50 and sum(seconds) < 5:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def exact_means(bank, queries, k):
    import numpy

    bank = bank.astype(numpy.float64)
    norms = (bank**2).sum(1)
    means = []
    for query in queries.astype(numpy.float64):
        near = numpy.argpartition(norms - 2 * bank @ query, k - 1)[:k]
        means.append(numpy.sqrt(((bank[near] - query) ** 2).sum(1)).mean())
    return numpy.array(means)


def torch_peers(bank, queries, k):
    """PyTorch: fp16 product and topk; and the product alone, which no search can beat without tricks."""
    import torch

    rows, patches = torch.from_numpy(bank).cuda(), torch.from_numpy(queries).cuda()
    norms = (rows.float() ** 2).sum(1).half()
    squares = (patches.float() ** 2).sum(1)
    out = torch.empty(len(queries), len(bank), dtype=torch.float16, device="cuda")

    def search():
        torch.matmul(patches, rows.T, out=out)
        near, _ = torch.topk(torch.sub(norms, out, alpha=2), k, dim=1, largest=False)
        return (near.float() + squares[:, None]).clamp(min=0).sqrt().mean(1).cpu().numpy()

    def product():
        torch.matmul(patches, rows.T, out=out)
        torch.cuda.synchronize()

    return {"torch": search}, {"cublas": product}


def faiss_peers(bank, queries, k):
    import faiss
    import numpy

    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        raise ImportError("this FAISS has no GPU support")
    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = True
    index = faiss.GpuIndexFlatL2(faiss.StandardGpuResources(), bank.shape[1], config)
    index.add(bank.astype(numpy.float32))
    patches = queries.astype(numpy.float32)
    return {"faiss": lambda: numpy.sqrt(numpy.maximum(index.search(patches, k)[0], 0)).mean(1)}, {}


def cuvs_peers(bank, queries, k):
    import cupy
    import numpy
    from cuvs.neighbors import brute_force

    index = brute_force.build(cupy.asarray(bank), metric="sqeuclidean")
    patches = cupy.asarray(queries)

    def search():
        near, _ = brute_force.search(index, patches, k)
        return numpy.sqrt(numpy.maximum(cupy.asnumpy(cupy.asarray(near)), 0)).mean(1)

    return {"cuvs": search}, {}


def main():
    try:
        import numpy
    except ImportError:
        sys.exit(f"error: {sys.executable} has no numpy, which the peers and the check need")
    lines = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
    missing = {}
    print(f"{lines[0]['backend'] if lines else 'nothing was timed'}, {time.strftime('%Y-%m-%d')}")
    print(f"{'T':>6} {'N':>8} {'C':>5} {'k':>3}  {'who':14} {'ms':>9} {'x ours':>7} {'max rel. error':>15}")
    for line in lines:
        bank, queries = halves(line["bank"], line["c"])[: line["n"]], halves(line["queries"], line["c"])[: line["t"]]
        k, shape = line["k"], f"{line['t']:6} {line['n']:8} {line['c']:5} {line['k']:3}"
        ours = line["device_seconds"]
        truth = exact_means(bank, queries[:50], k)

        def row(who, seconds, error):
            print(f"{shape}  {who:14} {seconds * 1e3:9.3f} {seconds / ours:7.2f} {error:>15}", flush=True)

        row("ours, device", ours, f"{line['max_rel_error']:.1e}")
        row("ours, host", line["host_seconds"], "")
        for name, make in (("torch", torch_peers), ("faiss", faiss_peers), ("cuvs", cuvs_peers)):
            try:
                searches, bounds = make(bank, queries, k)
            except ImportError as why:
                missing[name] = str(why)
                continue
            except Exception as why:  # noqa: BLE001: a peer out of memory must not end the table
                missing[name] = f"{type(why).__name__} at {shape.split()}: {why}"
                continue
            for who, search in searches.items():
                error = float(numpy.max(numpy.abs(search()[:50] - truth) / numpy.maximum(truth, 1e-30)))
                row(who, median_seconds(search), f"{error:.1e}")
            for who, product in bounds.items():
                row(who + " alone", median_seconds(product), "")
    for name, why in missing.items():
        print(f"not timed: {name}: {why}")


if __name__ == "__main__":
    main()
