"""The peers of the search bench: told what to do by JSON lines on standard input, answers the same way.

Every peer is brute force in float32 on the same stored features, with the same number of threads. A peer that cannot be
imported is reported as absent with the reason.
"""

import importlib
import json
import os
import sys
import time

import numpy as np

# What time is taken by: the clock that passes, or the processor's.
clock = time.perf_counter
# Products that are held at once: larger ones would only measure the memory.
HELD = 1 << 27


class Numpy:
    """Matrix product and argpartition."""

    def __init__(self, threads):
        self.module = np

    def hold(self, bank):
        self.bank, self.norms = bank, np.einsum("ij,ij->i", bank, bank)

    def search(self, queries, k):
        step = max(1, HELD // len(self.bank))
        means = np.empty(len(queries), np.float32)
        for i in range(0, len(queries), step):
            q = queries[i : i + step]
            d = q @ self.bank.T
            d *= -2
            d += self.norms
            near = np.take_along_axis(d, np.argpartition(d, k - 1, axis=1)[:, :k], 1)
            near += np.einsum("ij,ij->i", q, q)[:, None]
            means[i : i + step] = np.sqrt(np.maximum(near, 0)).mean(1)
        return means


class Sklearn:
    """NearestNeighbors with algorithm="brute"."""

    def __init__(self, threads):
        from sklearn.neighbors import NearestNeighbors

        self.module, self.kind, self.threads = importlib.import_module("sklearn"), NearestNeighbors, threads

    def hold(self, bank):
        self.index = self.kind(algorithm="brute", n_jobs=self.threads).fit(bank)

    def search(self, queries, k):
        return self.index.kneighbors(queries, n_neighbors=k)[0].mean(1).astype(np.float32)


class Faiss:
    """IndexFlatL2."""

    def __init__(self, threads):
        import faiss

        self.module = faiss
        faiss.omp_set_num_threads(threads)

    def hold(self, bank):
        self.index = self.module.IndexFlatL2(bank.shape[1])
        self.index.add(bank)

    def search(self, queries, k):
        return np.sqrt(np.maximum(self.index.search(queries, k)[0], 0)).mean(1)


class Tried(Faiss):
    """The fastest of several settings, tried on the first queries of each problem."""

    def settings(self):
        raise NotImplementedError

    def take(self, setting):
        """Makes the index and sets what the setting says."""
        raise NotImplementedError

    def hold(self, bank):
        self.bank, self.best = bank, {}

    def search(self, queries, k):
        problem = (len(queries), k)
        if problem not in self.best:
            times = {}
            for setting in self.settings():
                self.take(setting)
                super().search(queries, k)
                start = clock()
                super().search(queries, k)
                times[setting] = clock() - start
            self.best[problem] = min(times, key=times.get)
        self.take(self.best[problem])
        return super().search(queries, k)


class FaissBlocks(Tried):
    """IndexFlatL2 with the blocks of its matrix products that suit the problem, or without products."""

    def __init__(self, threads):
        super().__init__(threads)
        cvar = self.module.cvar
        self.usual = (cvar.distance_compute_blas_query_bs, cvar.distance_compute_blas_database_bs, cvar.distance_compute_blas_threshold)

    # Blocks of queries and of rows, and from how many queries on there are products.
    def settings(self):
        return [self.usual, *((queries, rows, 1) for queries in (128, 512, 4096) for rows in (1024, 4096, 16384))]

    def hold(self, bank):
        Faiss.hold(self, bank)
        self.best = {}

    def take(self, setting):
        cvar = self.module.cvar
        (cvar.distance_compute_blas_query_bs, cvar.distance_compute_blas_database_bs, cvar.distance_compute_blas_threshold) = setting

    def search(self, queries, k):
        means = super().search(queries, k)
        # The other peers keep the defaults.
        self.take(self.usual)
        return means


class FaissPanorama(Tried):
    """IndexFlatL2Panorama, which gives up rows early, on features turned to their principal axes (as its authors advise)."""

    def __init__(self, threads):
        super().__init__(threads)
        self.module.IndexFlatL2Panorama  # noqa: B018 older releases lack it

    def settings(self):
        return [levels for levels in (4, 8, 16, 32) if self.bank.shape[1] % levels == 0]

    def hold(self, bank):
        self.bank, self.best, self.made = bank, {}, {}
        self.middle = bank.mean(0)
        spread = np.cov(bank - self.middle, rowvar=False)
        # The largest first; distances stay, since it is a rotation.
        self.axes = np.ascontiguousarray(np.linalg.eigh(spread)[1][:, ::-1], np.float32)

    def take(self, levels):
        if levels not in self.made:
            index = self.module.IndexFlatL2Panorama(self.bank.shape[1], levels)
            index.add((self.bank - self.middle) @ self.axes)
            # Banks are large: the others were only tried.
            self.made = {levels: index}
        self.index = self.made[levels]

    def search(self, queries, k):
        return super().search((queries - self.middle) @ self.axes, k)


class Torch:
    """Matrix product and topk on the CPU."""

    def __init__(self, threads):
        import torch

        self.module = torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def hold(self, bank):
        self.bank = self.module.from_numpy(bank)
        self.norms = (self.bank * self.bank).sum(1)

    def search(self, queries, k):
        torch, step = self.module, max(1, HELD // len(self.bank))
        means = []
        for q in torch.from_numpy(queries).split(step):
            d = torch.addmm(self.norms, q, self.bank.T, alpha=-2)
            near = d.topk(k, dim=1, largest=False, sorted=False).values + (q * q).sum(1, keepdim=True)
            means.append(near.clamp_min(0).sqrt().mean(1))
        return torch.cat(means).numpy()


KINDS = {"faiss": Faiss, "faiss-blocks": FaissBlocks, "faiss-panorama": FaissPanorama, "torch": Torch, "numpy": Numpy, "sklearn": Sklearn}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints does not mix with the answers
    global clock
    peers, bank = {}, None
    held = set()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] == "hello":
                versions = {}
                clock = time.process_time if asked["clock"] == "processor" else time.perf_counter
                for name, kind in KINDS.items():
                    try:
                        peers[name] = kind(asked["threads"])
                        versions[name] = peers[name].module.__version__
                    except Exception as why:  # noqa: BLE001 a broken library is as absent as a missing one
                        versions[name] = f"absent: {why}".splitlines()[0]
                answer = {"present": list(peers), "versions": versions}
            elif asked["do"] == "bank":
                bank = np.fromfile(asked["path"], "<f2").astype(np.float32).reshape(-1, asked["c"])
                held.clear()
                answer = {}
            else:
                peer = peers[asked["peer"]]
                if asked["peer"] not in held:
                    peer.hold(bank)
                    held.add(asked["peer"])
                queries = np.fromfile(asked["path"], "<f4").reshape(-1, bank.shape[1])
                peer.search(queries, asked["k"]).astype("<f4").tofile(asked["means"])
                times, begun = [], clock()
                while not times or clock() - begun < asked["least"]:
                    start = clock()
                    peer.search(queries, asked["k"])
                    times.append(clock() - start)
                answer = {"seconds": float(np.median(times))}
        except Exception as why:  # noqa: BLE001 the bench prints it and ends
            answer = {"error": f"{type(why).__name__}: {why}"}
        print(json.dumps(answer), file=answers, flush=True)


main()
