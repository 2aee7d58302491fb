"""Limits of memory and processor time for a process: control groups of the first and the second version; needs root."""

import contextlib
import pathlib
import os
import time

ROOT = pathlib.Path("/sys/fs/cgroup")
# What a quota of processor time is counted in, in microseconds.
PERIOD = 100_000


class Group:
    """A control group; `before` is what starts a process in it."""

    def __init__(self):
        name = f"farout-soak-{os.getpid()}-{time.monotonic_ns()}"
        self.old = (ROOT / "memory").is_dir() and (ROOT / "cpu").is_dir()
        self.places = [ROOT / "memory" / name, ROOT / "cpu" / name] if self.old else [ROOT / name]
        if not self.old:
            (ROOT / "cgroup.subtree_control").write_text("+memory +cpu")
        for place in self.places:
            place.mkdir()
        joins = "; ".join(f"echo $$ > {place}/cgroup.procs" for place in self.places)
        self.before = ["sh", "-c", f'{joins}; exec "$@"', "sh"]

    def used(self):
        """Memory in bytes, with what the system keeps of its files."""
        return int((self.places[0] / ("memory.usage_in_bytes" if self.old else "memory.current")).read_text())

    def memory(self, limit):
        """Allows so many bytes, or all there are (None). False if that cannot be had: too much is in use."""
        text = str(limit) if limit is not None else ("-1" if self.old else "max")
        try:
            (self.places[0] / ("memory.limit_in_bytes" if self.old else "memory.max")).write_text(text)
            return True
        except OSError:
            return False

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


def group():
    """A group, or None where none can be made."""
    if os.geteuid() != 0:
        return None
    try:
        return Group()
    except OSError:
        return None
