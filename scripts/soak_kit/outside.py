"""What is around the process: a broker, a browser, nobody, and heat."""

import os
import shutil
import subprocess
import time

from . import browser
from .cgroup import group
from .fault import BACK, LeftOut, fault
from .rig import ROOT, SYNTHETIC, Farout, Viewer, free_port, wait
from .rig import start as run_it


@fault("outside", "MQTT broker gone")
def broker_gone(rig):
    if shutil.which("mosquitto") is None:
        raise LeftOut("it needs mosquitto")
    port, seconds = free_port(), 600 if rig.long else 5
    folder = rig.place("mqtt")
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    start = lambda: run_it(["mosquitto", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    broker = start()
    farout = Farout(folder, {"front": SYNTHETIC}, f'[mqtt]\nbroker = "mqtt://127.0.0.1:{port}"\n')
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


class Alone:
    """A farout that nobody watches, from round to round."""

    def __init__(self, rig):
        self.farout = Farout(rig.place("alone"), {"front": SYNTHETIC})
        self.farout.ready()
        # What is made once, for the first viewer, is made.
        viewer = Viewer(self.farout.url())
        wait("viewer's picture", 15, viewer.watches)
        viewer.end()
        # What is remembered of the last events and pictures fills up within the first minute.
        time.sleep(60)
        self.begun, self.first = time.monotonic(), self.farout.footprint()

    def end(self):
        self.farout.end()


@fault("viewers", "none at all")
def nobody(rig):
    if "alone" not in rig.kept:
        rig.kept["alone"] = Alone(rig)
    alone = rig.kept["alone"]
    time.sleep(5)
    minutes, now = (time.monotonic() - alone.begun) / 60, alone.farout.footprint()
    memory, descriptors = now[0] - alone.first[0], now[1] - alone.first[1]
    assert memory < 5 and descriptors <= 0, f"{memory:+.1f} MiB, {descriptors:+d} descriptors after {minutes:.0f} minutes"
    viewer = Viewer(alone.farout.url())
    try:
        took = wait("picture", BACK + 5, lambda: viewer.frames > 0)
        assert took <= BACK, f"the first viewer's picture came after {took:.1f} s only"
    finally:
        viewer.end()
    return f"for {minutes:.0f} minutes: memory {memory:+.1f} MiB; the first picture within {took:.1f} s of asking"


class Open:
    """A browser with the page open, from round to round."""

    def __init__(self, rig):
        self.page = browser.Browser(f"http://127.0.0.1:{rig.farout.http}/")
        self.begun, self.first = time.monotonic(), self.page.figures()

    def end(self):
        self.page.end()


@fault("outside", "a browser left open")
def left_open(rig):
    if not browser.is_there():
        raise LeftOut("it needs chromium and chromedriver")
    if "browser" not in rig.kept:
        rig.kept["browser"] = Open(rig)
    left = rig.kept["browser"]
    time.sleep(30 if rig.long else 3)
    minutes = (time.monotonic() - left.begun) / 60
    left.page.plays(10, 10)
    frames, behind, heap = left.page.figures()
    assert 0 <= behind < 3, f"{behind:.1f} s behind"
    assert heap < left.first[2] + 20, f"the page's objects grew from {left.first[2]:.0f} to {heap:.0f} MiB"
    return f"for {minutes:.0f} minutes: {frames} frames decoded, {behind:.1f} s behind the newest, objects {heap:.0f} MiB"


@fault("heat", "load on all cores")
def loaded(rig):
    seconds = 30 if rig.long else 6
    load = [run_it(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        time.sleep(seconds)
        rig.nobody_lost()
        assert rig.farout.is_running(), "the picture suffers"
    finally:
        for one in load:
            one.kill()
            one.wait()
    return f"{seconds} s with {len(load)} busy programs beside it: the picture goes on"


@fault("heat", "half the processor time")
def halved(rig):
    """A quota of half of what it uses."""
    seconds = 60 if rig.long else 8
    with group() as limits:
        farout = Farout(rig.place("quota"), {"front": SYNTHETIC}, before=limits.before)
        try:
            farout.ready()
            assert limits.has(farout.process.pid), "it is not in the control group"
            viewer = Viewer(farout.url())
            wait("viewer's picture", 15, viewer.watches)
            used, whole = farout.cores(4), farout.rate(2)
            limits.cores(used / 2)
            time.sleep(1)
            halved_rate = farout.rate(seconds)
            assert limits.throttled() > seconds, f"only {limits.throttled()} times was the time up"
            assert farout.is_there() and viewer.is_there(), "the viewer was lost"
            assert halved_rate > 1, f"{halved_rate:.1f} pictures per second"
            limits.cores(None)
            took = wait("full rate", BACK + 5, lambda: farout.rate(0.7) > 0.8 * whole)
            assert took <= BACK, f"the full rate was back after {took:.1f} s only"
            viewer.end()
        finally:
            farout.end()
    return f"{used / 2:.2f} cores for {seconds} s: {halved_rate:.1f} of {whole:.1f} pictures per second; all of them {took:.1f} s later"


@fault("heat", "model ten times as slow")
def slow_model(rig):
    """By a stand-in for ONNX Runtime that hands on to the real one, and waits."""
    real = os.environ.get("ORT_DYLIB_PATH") or next((str(one) for one in ROOT.glob(".onnxruntime/libonnxruntime.so*")), None)
    if shutil.which("cc") is None or real is None:
        raise LeftOut("it needs a C compiler and ORT_DYLIB_PATH")
    folder = rig.place("slow")
    library, factor = folder / "libslow.so", folder / "factor"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(ROOT / "scripts/soak_kit/slow_model.c"), "-ldl"], check=True)
    factor.write_text("1")
    farout = Farout(folder, {"front": SYNTHETIC}, environment={
        "ORT_DYLIB_PATH": str(library), "SLOW_MODEL_OF": real, "SLOW_MODEL_FACTOR": str(factor)})
    try:
        farout.ready()
        viewer = Viewer(farout.url())
        wait("viewer's picture", 15, viewer.watches)
        pictures, verdicts = farout.rate(4), farout.rate(4, "farout_verdicts_shown_total")
        before = farout.stage("features")
        factor.write_text("10")
        time.sleep(2)
        seconds = 30 if rig.long else 6
        slow_pictures, slow = farout.rate(seconds), farout.rate(seconds, "farout_verdicts_shown_total")
        after = farout.stage("features")
        times = (after[0] - before[0]) / (after[1] - before[1]) / (before[0] / before[1])
        assert times > 4, f"the model took {times:.1f} times as long only"
        assert slow_pictures > 0.9 * pictures and viewer.watches(), f"{slow_pictures:.1f} of {pictures:.1f} pictures per second"
        factor.write_text("1")
        farout.grows("farout_verdicts_shown_total", 3)
        viewer.end()
    finally:
        farout.end()
    return f"{slow:.1f} verdicts per second in place of {verdicts:.1f}; pictures {slow_pictures:.1f} in place of {pictures:.1f}"
