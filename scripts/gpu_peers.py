#!/usr/bin/env python3
"""One peer of the GPU's search, timed in a process of its own:  gpu_peers.py PEER DEVICE BANK.f16 PATCHES.f16 WIDTH K

Prints one line of JSON: median milliseconds, and how far its mean distances to the k nearest are from those in double
precision. Features are on the device already, and distances stay there. On CUDA the device's own clock is read. Ends
with 3 where the peer is not installed, and says so.
"""

import json
import statistics
import sys
import time

CHECKED = 48
GROUP = 128


def tensors(torch, device, files, width):
    import numpy

    numbers = [numpy.fromfile(path, dtype="<f2").reshape(-1, width) for path in files]
    return [torch.from_numpy(part).to(device) for part in numbers]


def torch_peers(torch, device, bank, patches, k):
    """By name: what is done each time, and whether it answers the question (the product alone does not)."""
    # Halves are slow on processors, which rehearse only.
    kind = torch.float16 if device == "cuda" else torch.float32
    bank, patches = bank.to(kind), patches.to(kind)
    squares = (patches.float() ** 2).sum(1)
    norms = (bank.float() ** 2).sum(1).to(kind)[None, :]
    out = torch.empty(len(patches), len(bank), dtype=kind, device=device)

    def means(near):
        return (near.float() + squares[:, None]).clamp(min=0).sqrt().mean(1)

    def least(keys):
        return torch.topk(keys, k, dim=1, largest=False).values

    def product():
        return torch.matmul(patches, bank.T, out=out)

    def topk():
        return means(least(torch.sub(norms, product(), alpha=2)))

    def groups():
        """The k groups of rows with the least keys hold the k least keys: only those are sorted."""
        keys = torch.addmm(norms, patches, bank.T, beta=1, alpha=-2)
        whole = len(bank) // GROUP * GROUP
        if whole < k * GROUP:
            return means(least(keys))
        parts = keys[:, :whole].reshape(len(patches), -1, GROUP)
        best = torch.topk(parts.amin(2), k, dim=1, largest=False).indices
        few = torch.gather(parts, 1, best[:, :, None].expand(-1, -1, GROUP)).reshape(len(patches), -1)
        return means(least(torch.cat([few, keys[:, whole:]], 1)))

    return {"product": (product, False), "topk": (topk, True), "groups": (groups, True)}


def faiss_peer(torch, device, bank, patches, k):
    import faiss

    queries = patches.float().cpu().numpy()
    if device == "cuda":
        if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
            raise ImportError("this FAISS has no GPU support")
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = True
        index = faiss.GpuIndexFlatL2(faiss.StandardGpuResources(), bank.shape[1], config)
    else:
        index = faiss.IndexFlatL2(bank.shape[1])
    index.add(bank.float().cpu().numpy())
    return lambda: torch.from_numpy(index.search(queries, k)[0]).clamp(min=0).sqrt().mean(1)


def cuvs_peer(torch, device, bank, patches, k):
    import cupy
    from cuvs.neighbors import brute_force

    if device != "cuda":
        raise ImportError("cuVS needs a GPU")
    index = brute_force.build(cupy.asarray(bank), metric="sqeuclidean")
    queries = cupy.asarray(patches)

    def search():
        near = brute_force.search(index, queries, k)[0]
        return torch.as_tensor(cupy.asarray(near), device="cuda").clamp(min=0).sqrt().mean(1)

    return search


def milliseconds(torch, device, work):
    def once():
        if device != "cuda":
            started = time.perf_counter()
            work()
            return (time.perf_counter() - started) * 1e3
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)

    for _ in range(3):
        once()
    times = []
    while len(times) < 5 or (len(times) < 50 and sum(times) < 2000):
        times.append(once())
    return statistics.median(times)


def worst(torch, got, bank, patches, k):
    few = torch.linspace(0, len(patches) - 1, min(CHECKED, len(patches)), device=patches.device).long()
    want = torch.stack([
        (bank.double() - patch.double()).norm(dim=1).topk(k, largest=False).values.mean() for patch in patches[few]
    ])
    got = got.to(few.device)[few].double()
    return float(((got - want).abs() / want.clamp(min=1e-30)).max())


def main():
    peer, device, bank, patches, width, k = sys.argv[1:]
    width, k = int(width), int(k)
    try:
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise ImportError("this PyTorch sees no GPU")
        bank, patches = tensors(torch, device, (bank, patches), width)
        if peer in ("faiss", "cuvs"):
            make = faiss_peer if peer == "faiss" else cuvs_peer
            work, answers = make(torch, device, bank, patches, k), True
        else:
            work, answers = torch_peers(torch, device, bank, patches, k)[peer]
    except ImportError as why:
        print(f"not installed: {why}")
        sys.exit(3)
    line = {"peer": peer, "versions": {"torch": torch.__version__, "cuda": torch.version.cuda}}
    line["max_rel_error"] = worst(torch, work(), bank, patches, k) if answers else None
    line["ms"] = milliseconds(torch, device, work)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
