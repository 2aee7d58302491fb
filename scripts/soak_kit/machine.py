"""What the process, its disk, its surroundings and heat do."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

from .fault import fault
from .rig import ROOT, Farout, Viewer, free_port, wait


@fault("process", "stopped for 20 s and on")
def stopped(rig):
    seconds = 20 if rig.long else 6
    rig.farout.signal(signal.SIGSTOP)
    time.sleep(seconds)
    rig.farout.signal(signal.SIGCONT)
    return f"{seconds} s; picture back within {rig.back(time.monotonic()):.1f} s"


@fault("process", "the configuration is read again")
def reload(rig):
    for threshold in (4.0, 9.0):
        rig.farout.more = rig.farout.more.split("[score]")[0] + f"[score]\nthreshold = {threshold}\n"
        rig.farout.write()
        rig.farout.signal(signal.SIGHUP)
        wait("new threshold", 10, lambda: f'"threshold":{threshold}' in rig.farout.get("/api/v1/config").replace(" ", ""))
    rig.nobody_lost()
    return "twice, no viewer lost"


def _recorded(folder, at=None):
    """Starts a farout that records a synthetic drive, and gives it."""
    keys = 'source = "synthetic:width=320,height=180,fps=20"'
    farout = Farout(folder, {"front": keys + f'\n[stream.output]\nrecord = "{at or folder / "drive.mp4"}"'})
    farout.ready()
    return farout


def _frames(path):
    """The frames that a player decodes of a file."""
    told = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
                           "stream=nb_read_frames", "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=False)
    number = told.stdout.strip().split("\n")[0].strip(",")
    return int(number) if number.isdigit() else 0


@fault("process", "SIGTERM with viewers")
def terminated(rig):
    farout = _recorded(rig.folder / "term")
    viewer = Viewer(farout.url())
    wait("viewer's picture", 15, viewer.watches)
    begun = time.monotonic()
    code = farout.end()
    took = time.monotonic() - begun
    viewer.process.wait(10)
    viewer.end()
    frames = _frames(rig.folder / "term/drive.mp4")
    assert code == 0 and took < 10 and frames > 20, f"code {code}, {took:.1f} s, {frames} frames"
    return f"ended after {took:.1f} s with code 0, {frames} frames recorded"


@fault("process", "kill -9 while recording")
def killed(rig):
    times, least = (10 if rig.long else 2), 10**9
    for at in range(times):
        folder = rig.folder / f"kill-{at}"
        farout = _recorded(folder)
        time.sleep(3 + rig.random.random() * 2)
        farout.process.kill()
        farout.process.wait()
        least = min(least, _frames(folder / "drive.mp4"))
        assert least > 20, f"only {least} frames can be played"
    return f"{times} times, at least {least} frames can be played"


@fault("process", "64 descriptors")
def descriptors(rig):
    keys = 'source = "synthetic:width=320,height=180,fps=20"'
    farout = Farout(rig.folder / "fd", {"front": keys}, before=["prlimit", "--nofile=64", "--"])
    held = []
    try:
        farout.ready()
        for _ in range(80):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", farout.http), 2))
        time.sleep(2)
        assert farout.is_there(), "it ended"
        for one in held:
            one.close()
        took = wait("answer after the flood", 10, farout.is_running)
    finally:
        farout.end()
    return f"{len(held)} connections; answers {took:.1f} s after they are gone"


@contextlib.contextmanager
def small_disk(folder, mib=8):
    """A file system with room for so many MiB; needs root."""
    place = folder / "disk"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@fault("disk", "full while recording")
def disk_full(rig):
    if os.geteuid() != 0:
        return None
    folder = rig.folder / "full"
    with small_disk(folder, 4) as place:
        farout = _recorded(folder, place / "drive.mp4")
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
        frames = {path.name: _frames(path) for path in sorted(place.glob("drive*.mp4"))}
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
    folder = rig.folder / "files"
    shutil.copytree(ROOT / "models", folder / "detector")
    farout = Farout(folder, {"front": 'source = "synthetic:width=320,height=180,fps=20"'})
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
    keys = 'source = "synthetic:width=320,height=180,fps=20"'
    farout = Farout(rig.folder / "library", {"front": keys}, environment={"ORT_DYLIB_PATH": "/nowhere/libonnxruntime.so"})
    took = wait("end", 20, lambda: not farout.is_there())
    code = farout.process.returncode
    assert code == 1 and farout.logged("/nowhere/libonnxruntime.so"), f"code {code}: see {farout.log}"
    return f"ends after {took:.1f} s with code {code} and names the library (systemd starts it again)"


@fault("disk", "cache that cannot be written")
def cache_unwritable(rig):
    keys = 'source = "synthetic:width=320,height=180,fps=20"'
    farout = Farout(rig.folder / "cache", {"front": keys}, environment={"FAROUT_CACHE": "/proc/none", "HOME": "/proc/none"})
    try:
        farout.ready()
        wait("verdicts", 30, lambda: (farout.metric("farout_verdicts_shown_total") or 0) > 3)
    finally:
        farout.end()
    return "judges all the same"


@fault("outside", "MQTT broker gone")
def broker_gone(rig):
    if shutil.which("mosquitto") is None:
        return None
    port, seconds = free_port(), 600 if rig.long else 5
    config = rig.folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    start = lambda: subprocess.Popen(["mosquitto", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    broker = start()
    keys = 'source = "synthetic:width=320,height=180,fps=20"'
    farout = Farout(rig.folder / "mqtt", {"front": keys}, f'[mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\n')
    try:
        farout.ready()
        wait("connection", 15, lambda: farout.metric("farout_mqtt_connected") == 1)
        broker.kill()
        broker.wait()
        wait("word of the loss", 15, lambda: farout.metric("farout_mqtt_connected") == 0)
        time.sleep(seconds)
        assert farout.is_running(), "the picture suffers"
        broker = start()
        took = wait("connection again", 70, lambda: farout.metric("farout_mqtt_connected") == 1)
    finally:
        farout.end()
        broker.kill()
        broker.wait()
    return f"{seconds} s; connected again after {took:.1f} s"


@fault("heat", "half a processor")
def throttled(rig):
    """A load on every core beside it: what a machine does that is too hot."""
    seconds = 30 if rig.long else 6
    load = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        time.sleep(seconds)
        rig.nobody_lost()
        assert rig.farout.is_running(), "the picture suffers"
    finally:
        for one in load:
            one.kill()
            one.wait()
    return f"{seconds} s with {len(load)} busy programs beside it: the picture goes on"
