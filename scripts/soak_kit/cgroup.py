"""Limits of memory and processor time for a process: control groups of the first and the second version; needs root."""

import contextlib
import pathlib
import os
import time

from .fault import LeftOut

ROOT = pathlib.Path("/sys/fs/cgroup")
# What a quota of processor time is counted in, in microseconds.
PERIOD = 100_000


class Group:
    """A control group; `before` is what starts a process in it."""

    def __init__(self):
        name = f"farout-soak-{os.getpid()}-{time.monotonic_ns()}"
        self.old = (ROOT / "memory").is_dir() and (ROOT / "cpu").is_dir()
        self.places = [ROOT / "memory" / name, ROOT / "cpu" / name] if self.old else [ROOT / name]
        joins = " && ".join(f"echo $$ > {place}/cgroup.procs" for place in self.places)
        self.before = ["sh", "-c", f'{joins} && exec "$@"', "sh"]
        try:
            if not self.old:
                (ROOT / "cgroup.subtree_control").write_text("+memory +cpu")
            for place in self.places:
                place.mkdir()
        except OSError:
            self.end()
            raise

    def has(self, pid):
        """Whether a process is in it."""
        return all(str(pid) in (place / "cgroup.procs").read_text().split() for place in self.places)

    def memory(self, limit):
        """Allows so many bytes, or all there are (None). False if that cannot be had: too much is in use."""
        text = str(limit) if limit is not None else ("-1" if self.old else "max")
        try:
            (self.places[0] / ("memory.limit_in_bytes" if self.old else "memory.max")).write_text(text)
            return True
        except OSError:
            return False

    def tighten(self, room):
        """Allows what is in use and `room` bytes; gives the limit."""
        limit = int((self.places[0] / ("memory.usage_in_bytes" if self.old else "memory.current")).read_text())
        # The first version refuses what cannot be had once the system has taken back its caches; the second would kill.
        while self.old and self.memory(limit):
            limit -= 1 << 20
        self.memory(limit + room)
        return limit + room

    def met(self):
        """How often the limit of memory was met."""
        if self.old:
            return int((self.places[0] / "memory.failcnt").read_text())
        return self._figure(self.places[0] / "memory.events", "max")

    def throttled(self):
        """How often the time was up."""
        return self._figure(self.places[-1] / "cpu.stat", "nr_throttled")

    @staticmethod
    def _figure(path, name):
        return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.split()[0] == name)

    def cores(self, count):
        """Allows the time of so many cores, or all (None)."""
        quota = int(count * PERIOD) if count is not None else None
        if self.old:
            (self.places[1] / "cpu.cfs_period_us").write_text(str(PERIOD))
            (self.places[1] / "cpu.cfs_quota_us").write_text(str(quota if quota is not None else -1))
        else:
            (self.places[0] / "cpu.max").write_text(f"{quota if quota is not None else 'max'} {PERIOD}")

    def end(self):
        """Takes the group away, once nothing runs in it."""
        for place in self.places:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    place.rmdir()
                if not place.exists():
                    break
                time.sleep(0.1)


@contextlib.contextmanager
def group():
    """A group for the while."""
    try:
        made = Group()
    except OSError as why:
        raise LeftOut(f"it needs root and control groups: {why}") from None
    try:
        yield made
    finally:
        made.end()
