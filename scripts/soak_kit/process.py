"""What the process lives through."""

import contextlib
import glob
import os
import signal
import socket
import subprocess
import time

from .cgroup import group
from .fault import LeftOut, fault
from .rig import SYNTHETIC, Farout, Viewer, wait


@fault("process", "stopped for 20 s and on")
def stopped(rig):
    seconds = 20 if rig.long else 6
    rig.farout.signal(signal.SIGSTOP)
    time.sleep(seconds)
    rig.farout.signal(signal.SIGCONT)
    rig.over()
    return f"{seconds} s; picture back within {rig.back():.1f} s"


@fault("process", "the configuration is read again")
def reload(rig):
    for threshold in (4.0, 9.0):
        rig.farout.more = rig.farout.more.split("[score]")[0] + f"[score]\nthreshold = {threshold}\n"
        rig.farout.write()
        rig.farout.signal(signal.SIGHUP)
        wait("new threshold", 10, lambda: f'"threshold":{threshold}' in rig.farout.get("/api/v1/config").replace(" ", ""))
    rig.nobody_lost()
    return "twice, no viewer lost"


def recorded(folder, at=None, **keys):
    """Starts a farout that records a synthetic drive, and gives it."""
    record = f'\n[stream.output]\nrecord = "{at or folder / "drive.mp4"}"'
    farout = Farout(folder, {"front": SYNTHETIC + record}, **keys)
    farout.ready()
    return farout


def frames_of(path):
    """The frames that a player decodes of a file."""
    told = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
                           "stream=nb_read_frames", "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=False)
    number = told.stdout.strip().split("\n")[0].strip(",")
    return int(number) if number.isdigit() else 0


@fault("process", "SIGTERM with viewers")
def terminated(rig):
    folder = rig.place("term")
    farout = recorded(folder)
    viewer = Viewer(farout.url())
    wait("viewer's picture", 15, viewer.watches)
    begun = time.monotonic()
    code = farout.end()
    took = time.monotonic() - begun
    viewer.process.wait(10)
    viewer.end()
    frames = frames_of(folder / "drive.mp4")
    assert code == 0 and took < 10 and frames > 20, f"code {code}, {took:.1f} s, {frames} frames"
    return f"ended after {took:.1f} s with code 0, {frames} frames recorded"


@fault("process", "kill -9 while recording")
def killed(rig):
    times, least = (10 if rig.long else 2), 10**9
    for at in range(times):
        folder = rig.place("kill")
        farout = recorded(folder)
        time.sleep(3 + rig.random.random() * 2)
        farout.process.kill()
        farout.process.wait()
        least = min(least, frames_of(folder / "drive.mp4"))
        assert least > 20, f"only {least} frames can be played"
    return f"{times} times, at least {least} frames can be played"


@fault("process", "64 descriptors")
def descriptors(rig):
    farout = Farout(rig.place("fd"), {"front": SYNTHETIC}, before=["prlimit", "--nofile=64", "--"])
    held = []
    try:
        farout.ready()
        for number in range(160):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", farout.http if number % 2 else farout.rtsp), 2))
        time.sleep(2)
        assert farout.is_there(), "it ended"
        for one in held:
            one.close()
        took = wait("answer after the flood", 10, farout.is_running)
    finally:
        farout.end()
    return f"{len(held)} connections; answers {took:.1f} s after they are gone"


@fault("process", "clock steps of an hour both ways")
def clock_steps(rig):
    """The clock of the day steps, by libfaketime; the steady one goes on, as it does in the kernel."""
    library = (glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") or [None])[0]
    if library is None:
        raise LeftOut("it needs libfaketime")
    folder = rig.place("clock")
    offset = folder / "offset"

    def step(seconds):
        draft = offset.with_suffix(".part")
        draft.write_text(f"{seconds:+d}\n")
        os.replace(draft, offset)

    step(0)
    keys = f'source = "{rig.camera.url}"\ntimeout_secs = 2.0'
    farout = Farout(folder, {"front": keys}, f'[events]\nfolder = "{folder}/events"\n', environment={
        "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    try:
        farout.ready()
        viewer = Viewer(farout.url())
        wait("viewer's picture", 15, viewer.watches)
        for seconds in (3600, 0, -3600, 0):
            mark = farout.mark()
            step(seconds)
            wait("word of the step", 15, lambda at=mark: farout.logged("the system's clock was set", at))
            until = time.monotonic() + (30 if rig.long else 4)
            while time.monotonic() < until:
                assert farout.is_running() and viewer.is_there(), f"the picture suffers from a step to {seconds:+d} s"
                time.sleep(0.2)
            assert viewer.watches(), f"the viewer suffers from a step to {seconds:+d} s"
            farout.grows("farout_verdicts_shown_total", 3, 5)
        assert farout.metric("farout_source_reconnects_total") == 0, "the camera was opened again"
        viewer.end()
    finally:
        farout.end()
    return "an hour ahead and back, an hour behind and back: no reconnect, no viewer lost"


@fault("process", "memory limit met")
def memory_met(rig):
    """The limit comes down to what is in use, and viewers come: the kernel takes back caches, or ends the process."""
    with group() as limits:
        folder, viewers = rig.place("memory"), []
        farout = recorded(folder, before=limits.before)
        try:
            farout.grows("farout_pictures_shown_total", 80)
            assert limits.has(farout.process.pid), "it is not in the control group"
            limit = limits.tighten(2 << 20)
            assert farout.is_there(), "the limit alone ended it"
            for at in range(30):
                viewers.append(Viewer(farout.url(scheme=("rtsp", "ts", "mp4")[at % 3])))
                if not farout.is_there():
                    break
                time.sleep(0.3)
            alive = farout.is_there() and farout.is_running()
            if alive:
                assert limits.met() > 0, "the limit was not met"
            else:
                wait("end by the kernel", 10, lambda: not farout.is_there())
                assert farout.process.returncode == -signal.SIGKILL, f"ended with {farout.process.returncode}"
            kept = frames_of(folder / "drive.mp4")
            assert kept > 20, f"only {kept} frames can be played"
            limits.memory(None)
            if not alive:
                # As systemd does.
                farout.start()
                farout.ready()
            farout.grows("farout_verdicts_shown_total", 3)
        finally:
            for viewer in viewers:
                viewer.end()
            farout.end()
    became = "goes on" if alive else "ended by the kernel, and runs again"
    return f"{limit >> 20} MiB, {len(viewers)} viewers: {became}; {kept} frames of the recording can be played"
