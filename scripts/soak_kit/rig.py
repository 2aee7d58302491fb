"""What the soak works with: farout, cameras and viewers as processes, and what is measured of them."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

# Every process, for the end of a run in which something went wrong.
STARTED = []
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# A stream that needs no camera.
SYNTHETIC = 'source = "synthetic:width=320,height=180,fps=20"'


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(*arguments, **keys):
    """A process that is ended with the run at the latest."""
    process = subprocess.Popen(*arguments, start_new_session=True, **keys)
    STARTED.append(process)
    return process


def end_all():
    """Ends what still runs, with what it has started itself."""
    for process in STARTED:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(what, seconds, is_so):
    """Waits until `is_so()` is true; gives the seconds that it took, and fails after `seconds`."""
    begun = time.monotonic()
    while True:
        found = is_so()
        took = time.monotonic() - begun
        if found:
            return took
        if took > seconds:
            raise AssertionError(f"no {what} within {seconds:g} s")
        time.sleep(0.05)


class Camera:
    """An RTSP camera of its own process: a moving picture, coded as asked."""

    def __init__(self, port, loss=0.0, address="127.0.0.1"):
        self.port, self.address = port, address
        self.launch = camera_launch((640, 360), 15, "h264", loss)
        self.process, self.said = None, tempfile.TemporaryFile()
        if not self.start():
            self.said.seek(0)
            raise AssertionError(f"the camera does not start: {self.said.read().decode().strip()}")

    @property
    def url(self):
        return f"rtsp://{self.address}:{self.port}/camera"

    def start(self):
        program = os.environ.get("RTSP_CAMERA") or ROOT / "target/release/examples/rtsp_camera"
        self.process = start(
            [str(program), self.launch, str(self.port), self.address], stdout=subprocess.PIPE, stderr=self.said)
        # Its address, or nothing if it ends.
        return bool(self.process.stdout.readline())

    def starts(self):
        """Starts it; False if it ends at once, as while its port is taken."""
        if self.start():
            return True
        self.kill()
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def signal(self, number):
        self.process.send_signal(number)


def camera_launch(size, rate, codec, loss=0.0):
    """A launch description for `Camera`; `loss` is the share of packets that never come, and four times as many come late."""
    coder = {
        "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay config-interval=-1",
        "jpeg": "jpegenc ! rtpjpegpay",
    }[codec]
    lossy = (f" ! netsim drop-probability={loss} delay-probability={min(4 * loss, 1.0)} min-delay=5 max-delay=40 "
             "allow-reordering=true name=pay0") if loss else " name=pay0"
    return (f"( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width={size[0]},height={size[1]},"
            f"framerate={rate}/1 ! {coder}{lossy} )")


class Viewer:
    """A player that reads on and counts what it gets."""

    def __init__(self, url):
        self.frames = 0
        self.last = time.monotonic()
        transport = ["-rtsp_transport", "tcp"] if url.startswith("rtsp") else []
        self.process = start(
            ["ffmpeg", "-nostdin", "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "0.25",
             *transport, "-i", url, "-map", "0:v", "-c", "copy", "-f", "null", "-"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("frame="):
                frames = int(line.split("=")[1])
                if frames > self.frames:
                    self.frames, self.last = frames, time.monotonic()

    def is_there(self):
        return self.process.poll() is None

    def watches(self):
        """Whether frames came within the last second and a half."""
        return self.is_there() and time.monotonic() - self.last < 1.5 and self.frames > 0

    def end(self):
        if self.is_there():
            self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


class Farout:
    """The daemon, with a configuration of its own."""

    def __init__(self, folder, streams, more="", environment=None, before=(), arguments=()):
        """`before` is what execs it, with its arguments."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.http, self.rtsp = free_port(), free_port()
        self.streams, self.more = streams, more
        self.environment, self.before, self.arguments = environment or {}, list(before), list(arguments)
        self.config = self.folder / "farout.toml"
        self.log = self.folder / "farout.log"
        self.process = None
        self.write()
        self.start()

    def write(self):
        text = f'detector = "{self.folder / "detector"}"\n' if (self.folder / "detector").exists() else \
            f'detector = "{ROOT / "models"}"\n'
        for name, keys in self.streams.items():
            text += f'[[stream]]\nname = "{name}"\n{keys}\n'
        text += f'[output]\nrtsp = "rtsp://127.0.0.1:{self.rtsp}/x"\nhttp = "http://127.0.0.1:{self.http}/"\n{self.more}\n'
        self.config.write_text(text)

    def start(self):
        program = os.environ.get("FAROUT") or ROOT / "target/release/farout"
        with open(self.log, "ab") as log:
            self.process = start(
                [*self.before, str(program), "run", "-c", str(self.config), "--log-format", "json", *self.arguments],
                stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **self.environment})
        return self

    def grows(self, name, by, seconds=30):
        """Waits until a counter has risen by more than `by`; the seconds that it took."""
        before = self.metric(name) or 0
        return wait(f"rise of {name}", seconds, lambda: (self.metric(name) or 0) > before + by)

    def stage(self, name):
        """Seconds that a stage of the detection was busy, and with how many frames."""
        lines = [line for line in self.metrics().splitlines() if f'stage="{name}"' in line]
        return tuple(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"farout_stage_seconds_{part}"))
                     for part in ("sum", "count"))

    def rate(self, seconds, name="farout_pictures_shown_total"):
        """How much a counter rises in a second, over so many seconds."""
        before, begun = self.metric(name) or 0, time.monotonic()
        time.sleep(seconds)
        return ((self.metric(name) or 0) - before) / (time.monotonic() - begun)

    def cores(self, seconds):
        """How many cores it keeps busy."""
        def used():
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        before = used()
        time.sleep(seconds)
        return (used() - before) / seconds

    def url(self, stream="front", scheme="rtsp"):
        return f"rtsp://127.0.0.1:{self.rtsp}/{stream}" if scheme == "rtsp" else f"http://127.0.0.1:{self.http}/{stream}.{scheme}"

    def get(self, path, timeout=5):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=timeout) as answer:
            return answer.read().decode()

    def state(self):
        try:
            return json.loads(self.get("/api/v1/state"))
        except (OSError, urllib.error.URLError, json.JSONDecodeError):
            return None

    def stream(self, name="front"):
        state = self.state() or {"streams": []}
        return next((one for one in state["streams"] if one["name"] == name), None)

    def is_running(self, name="front"):
        stream = self.stream(name)
        return bool(stream) and stream["state"] == "running"

    def metrics(self):
        return self.get("/metrics")

    def metric(self, name, label=""):
        """The sum of a metric over all labels, or over those sets of them that hold `label`; or None."""
        found = [float(line.rsplit(" ", 1)[1]) for line in self.metrics().splitlines()
                 if re.match(rf"{re.escape(name)}(\{{.*\}})? ", line) and label in line]
        return sum(found) if found else None

    def logged(self, word, since=0):
        with open(self.log, "rb") as log:
            log.seek(since)
            return word.encode() in log.read()

    def mark(self):
        return self.log.stat().st_size

    def signal(self, number):
        self.process.send_signal(number)

    def is_there(self):
        return self.process.poll() is None

    def ready(self, seconds=60):
        return wait("farout that is ready", seconds, lambda: self.state() is not None and all(
            one["state"] == "running" for one in self.state()["streams"]))

    def end(self, seconds=20):
        """SIGTERM, and the exit code."""
        if self.is_there():
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {seconds} s of SIGTERM") from None

    def footprint(self):
        """Resident memory in MiB, descriptors, threads."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        number = lambda key: int(re.search(rf"^{key}:\s+(\d+)", status, re.M).group(1))
        return number("VmRSS") / 1024, len(os.listdir(f"/proc/{self.process.pid}/fd")), number("Threads")
