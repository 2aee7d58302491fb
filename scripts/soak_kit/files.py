"""What disks and files do."""

import contextlib
import shutil
import signal
import subprocess
import time

from .fault import LeftOut, fault
from .process import frames_of, recorded
from .rig import ROOT, SYNTHETIC, Farout, wait


@contextlib.contextmanager
def small_disk(folder, mib=8):
    """A file system with room for so many MiB; needs root."""
    place = folder / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        raise LeftOut(f"it needs to mount: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@fault("disk", "full while recording")
def disk_full(rig):
    folder = rig.place("full")
    with small_disk(folder, 4) as place:
        farout = recorded(folder, place / "drive.mp4")
        try:
            filler = place / "filler"
            wait("full disk", 60, lambda: _fills(filler))
            wait("word of the full disk", 20, lambda: farout.stream() and farout.stream()["problems"])
            assert farout.is_running(), "the picture suffers"
            filler.unlink()
            took = wait("recording that goes on", 30, lambda: farout.stream() and not farout.stream()["problems"])
            time.sleep(3)
        finally:
            farout.end()
        frames = {path.name: frames_of(path) for path in sorted(place.glob("drive*.mp4"))}
        assert frames and all(count > 0 for count in frames.values()), f"{frames}"
    return f"told; goes on {took:.1f} s after there is room; every file can be played: {frames}"


def _fills(filler):
    try:
        with open(filler, "ab") as file:
            file.write(b"\0" * (1 << 16))
        return False
    except OSError:
        return True


@fault("disk", "bank and model overwritten and deleted while it runs")
def files_gone(rig):
    folder = rig.place("files")
    shutil.copytree(ROOT / "models", folder / "detector")
    farout = Farout(folder, {"front": SYNTHETIC})
    try:
        farout.ready()
        wait("verdicts", 30, lambda: (farout.metric("farout_verdicts_shown_total") or 0) > 3)
        for name in ("synthetic.bank", "synthetic-vit.onnx"):
            (folder / "detector" / name).write_bytes(b"not what it was")
        (folder / "detector/synthetic.bank").unlink()
        before = farout.metric("farout_verdicts_shown_total")
        wait("more verdicts", 30, lambda: farout.metric("farout_verdicts_shown_total") > before + 3)
        farout.signal(signal.SIGHUP)
        time.sleep(3)
        assert farout.is_running(), "the picture suffers"
    finally:
        farout.end()
    return "judges on; a reload in between changes nothing"


@fault("disk", "library missing")
def library_missing(rig):
    farout = Farout(rig.place("library"), {"front": SYNTHETIC}, environment={"ORT_DYLIB_PATH": "/nowhere/libonnxruntime.so"})
    took = wait("end", 20, lambda: not farout.is_there())
    code = farout.process.returncode
    assert code == 1 and farout.logged("/nowhere/libonnxruntime.so"), f"code {code}: see {farout.log}"
    return f"ends after {took:.1f} s with code {code} and names the library (systemd starts it again)"


@fault("disk", "cache that cannot be written")
def cache_unwritable(rig):
    farout = Farout(rig.place("cache"), {"front": SYNTHETIC}, environment={"FAROUT_CACHE": "/proc/none", "HOME": "/proc/none"})
    try:
        farout.ready()
        wait("verdicts", 30, lambda: (farout.metric("farout_verdicts_shown_total") or 0) > 3)
    finally:
        farout.end()
    return "judges all the same"
