"""Ray: where pieces run, how often they are tried, how far they are."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time

from . import storage, worker
from .piece import Done, Piece, PieceFailed

log = logging.getLogger("farout_fleet")


@dataclasses.dataclass
class Needs:
    """What a piece takes of a machine, and how often it is tried."""

    cpus: float = 2
    gpus: float = 0
    attempts: int = 3


@dataclasses.dataclass
class Ended:
    """What became of all pieces, by key."""

    done: dict[str, Done] = dataclasses.field(default_factory=dict)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    # Those that never began, since one before them failed.
    waiting: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


class Engine:
    """A connection to Ray. Pieces that are recorded in `work` as done are not run again."""

    def __init__(self, address: str | None, programs: tuple[str, str], version: str, work: str, needs: Needs, env: dict[str, str], passed: dict[str, str]):
        import ray

        self.ray, self.version, self.work, self.needs, self.env = ray, version, work, needs, env
        # As the workers find it, and here.
        self.farout, self.here = programs
        # Machines without this package get it from here.
        runtime = {"py_modules": [os.path.dirname(os.path.abspath(__file__))], "env_vars": passed}
        context = ray.init(address=address or "local", runtime_env=runtime, log_to_driver=False, logging_level=logging.ERROR)
        if context.dashboard_url:
            log.info("dashboard of Ray: http://%s", context.dashboard_url)
        there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(one.get("CPU", 0) >= needs.cpus and one.get("GPU", 0) >= needs.gpus for one in there):
            # Clusters that grow have it later.
            log.warning(
                "no machine of the cluster has the %g processors and %g GPUs of a piece now: waiting for one (see --piece-cpus, "
                "--piece-gpus)",
                needs.cpus,
                needs.gpus,
            )
        self.known = storage.names(work)
        # What is under way, by key: Ray's references, or what is done already.
        self.stands: dict[str, object] = {}
        self.after: dict[str, list[str]] = {}
        self.remote = ray.remote(_task)
        self.options = {
            "num_cpus": needs.cpus,
            "num_gpus": needs.gpus,
            # Of lost machines as of failed runs.
            "max_retries": needs.attempts - 1,
            "retry_exceptions": [PieceFailed],
        }

    def close(self) -> None:
        self.ray.shutdown()

    def put(self, data: bytes):
        """Bytes in the cluster's memory, for `Carried.bytes`."""
        return (self.ray.put(data),)

    def submit(self, piece: Piece, after: list[str] | None = None) -> None:
        """Hands a piece to Ray, to run when the pieces with the keys `after` are done."""
        if piece.key in self.stands:
            raise ValueError(f"two pieces are called {piece.key}")
        piece.work, piece.env = self.work, self.env
        record = piece.record(self.version)
        self.after[piece.key] = after or []
        if record in self.known:
            self.stands[piece.key] = Done(piece.key, record, kept=True)
            return
        waits = [self.stands[key] for key in after or [] if not isinstance(self.stands[key], Done)]
        self.stands[piece.key] = self.remote.options(name=piece.key, **self.options).remote(piece, self.farout, self.version, *waits)

    def is_done(self, piece: Piece) -> bool:
        """Whether an earlier run did this very piece."""
        piece.work, piece.env = self.work, self.env
        return piece.record(self.version) in self.known

    def wait(self, shown: bool, what: str) -> Ended:
        """Waits for all that was submitted since the last time, showing how far it is. A failure does not end the wait."""
        begun, ended = time.monotonic(), Ended()
        refs = {}
        for key, stands in self.stands.items():
            if isinstance(stands, Done):
                ended.done[key] = stands
            else:
                refs[stands] = key
        if ended.done:
            log.info("%d of %d %s are done from an earlier run", len(ended.done), len(self.stands), what)
        bar = _bar(len(self.stands), len(ended.done), shown, what)
        told, left = time.monotonic(), list(refs)
        while left:
            ready, left = self.ray.wait(left, num_returns=min(len(left), 100), timeout=1.0)
            for ref in ready:
                key = refs[ref]
                try:
                    ended.done[key] = self.ray.get(ref)
                except Exception as why:
                    ended.failed[key] = _words(why)
                    if not self.after[key]:
                        log.error("%s", ended.failed[key])
            bar.update(len(ready))
            if not shown and time.monotonic() - told > 30:
                told = time.monotonic()
                log.info("%d of %d %s done, %d failed", len(ended.done), len(self.stands), what, len(ended.failed))
        bar.close()
        for key in [key for key in ended.failed if self.after[key]]:
            # Ray gives what waits for a failed piece that piece's own failure.
            if any(before in ended.failed or before in ended.waiting for before in self.after[key]):
                ended.waiting.append(key)
                del ended.failed[key]
            else:
                log.error("%s", ended.failed[key])
        self.stands, self.after = {}, {}
        ended.seconds = time.monotonic() - begun
        return ended


def _task(piece: Piece, farout: str, version: str, *_after) -> Done:
    return worker.run(piece, farout, version)


def _words(why: BaseException) -> str:
    """What people want to read of an error of Ray."""
    cause = getattr(why, "cause", None)
    while getattr(cause, "cause", None) is not None:
        cause = cause.cause
    said = cause if cause is not None else why
    return str(said) or repr(said)


def _bar(total: int, initial: int, shown: bool, what: str):
    from tqdm import tqdm

    return tqdm(total=total, initial=initial, unit=f" {what}", disable=not shown, file=sys.stderr, dynamic_ncols=True)
