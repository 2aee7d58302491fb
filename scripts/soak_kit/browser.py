"""A real browser with the page open, steered through WebDriver."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request

from .rig import free_port, start, wait

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-precise-memory-info",
         "--autoplay-policy=no-user-gesture-required"]
# Frames decoded, seconds behind the newest that is there, megabytes of the page's objects.
FIGURES = """const v = document.querySelector('.stream video'), b = v?.buffered;
return [v?.getVideoPlaybackQuality().totalVideoFrames ?? 0, b?.length ? b.end(b.length - 1) - v.currentTime : -1,
        performance.memory.usedJSHeapSize / 1048576]"""

# What the player has, for when nothing comes.
PLAYER = """const v = document.querySelector('.stream video'), all = [];
for (let at = 0; at < (v?.buffered.length ?? 0); at++) all.push([v.buffered.start(at), v.buffered.end(at)]);
return v ? {frames: v.getVideoPlaybackQuality(), at: v.currentTime, buffered: all, paused: v.paused, ready: v.readyState,
            error: v.error?.message, source: v.currentSrc} : document.body.innerText.slice(0, 300)"""


def is_there():
    """Whether this machine has one."""
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


class Browser:
    """Chromium without a window."""

    def __init__(self, url):
        self.port, self.folder = free_port(), tempfile.mkdtemp(prefix="farout-soak-browser-")
        self.driver = start(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.session = None
        try:
            wait("driver of the browser", 30, self._is_ready)
            options = {"args": [*FLAGS, f"--user-data-dir={self.folder}"]}
            told = self._ask("/session", {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}})
            self.session = told["sessionId"]
            self._ask(f"/session/{self.session}/url", {"url": url})
            self.plays(10, 30)
        except BaseException:
            self.end()
            raise

    def _is_ready(self):
        try:
            return self._ask("/status")["ready"]
        except OSError:
            return False

    def _ask(self, path, body=None, method=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def _script(self, text):
        return self._ask(f"/session/{self.session}/execute/sync", {"script": text, "args": []})

    def figures(self):
        """Frames decoded, seconds behind the newest buffered picture, MiB of JavaScript objects."""
        return self._script(FIGURES)

    def plays(self, frames, seconds):
        """Waits until so many more frames are decoded."""
        before = self.figures()[0]
        try:
            wait("pictures in the browser", seconds, lambda: self.figures()[0] > before + frames)
        except AssertionError as why:
            raise AssertionError(f"{why}: {json.dumps(self._script(PLAYER))}") from None

    def end(self):
        try:
            if self.session:
                with contextlib.suppress(OSError):
                    self._ask(f"/session/{self.session}", method="DELETE")
        finally:
            # The browser is of its group.
            with contextlib.suppress(OSError):
                os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
