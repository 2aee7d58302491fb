"""The list of faults, and what they share."""

import contextlib
import os
import pathlib
import random
import time

from .rig import Camera, Farout, Viewer, free_port, wait

FAULTS = []
# A picture has to be back so many seconds after its cause has ended.
BACK = float(os.environ.get("FAROUT_SOAK_BACK", "3"))


class LeftOut(Exception):
    """This machine lacks what the fault needs."""


def fault(group, name):
    """Registers a fault: a function of a `Rig`. What it returns is told; `LeftOut` and other exceptions say why it is none."""
    def register(function):
        FAULTS.append((group, name, function))
        return function
    return register


class Rig:
    """What most faults share: a farout with one camera called "front", and a viewer over RTSP and one over HTTP who stay."""

    def __init__(self, folder, long):
        self.folder, self.long = pathlib.Path(folder), long
        # What stays from one round to the next: ended with the run.
        self.kept = {}
        self.places = 0
        self.random = random.Random(1)
        self.since = time.monotonic()
        self.port = free_port()
        self.camera = Camera(self.port)
        keys = f'source = "rtsp://127.0.0.1:{self.port}/camera"\nwait = true\ntimeout_secs = 2.0'
        more = f'[events]\nfolder = "{self.folder}/farout/events"\n'
        self.farout = Farout(self.folder / "farout", {"front": keys}, more)
        self.farout.ready()
        self.viewers = [Viewer(self.farout.url()), Viewer(self.farout.url(scheme="mp4"))]
        wait("viewer's picture", 15, lambda: all(viewer.watches() for viewer in self.viewers))

    def place(self, name):
        """A folder of one's own, which is there; each round has others."""
        self.places += 1
        folder = self.folder / f"{self.places}-{name}"
        folder.mkdir(parents=True)
        return folder

    @contextlib.contextmanager
    def without_camera(self):
        """The camera is gone meanwhile; `since` is when its start began, once its port was free."""
        self.camera.kill()
        try:
            yield
        finally:
            self.since = time.monotonic()
            wait("start of the camera", 10, self.camera.starts)

    def back(self):
        """New pictures of the camera are judged again, and those who have stayed see them; the seconds since `since`."""
        before = self.judged()
        # One may still have been under way.
        wait("camera's picture", BACK + 5, lambda: self.farout.is_running() and self.judged() > before + 1)
        took = time.monotonic() - self.since
        assert took <= BACK, f"the picture was back after {took:.1f} s only"
        self.nobody_lost()
        return took

    def over(self):
        """The cause of a fault has ended just now."""
        self.since = time.monotonic()

    def nobody_lost(self):
        for viewer in self.viewers:
            assert viewer.is_there(), "a viewer was lost"
        wait("picture for the viewers", 5, lambda: all(viewer.watches() for viewer in self.viewers))

    def lost(self, seconds=8):
        """The loss of the camera shows in state, metrics and picture."""
        wait("word of the loss", seconds, lambda: (self.farout.stream() or {}).get("state") == "lost")
        assert self.farout.metric("farout_source_up") == 0, "source_up is not 0"
        before = self.judged()
        time.sleep(1)
        assert self.judged() == before, "the picture that stands in for the camera is judged"

    def judged(self):
        """How many of the camera's pictures were judged; those that stand in for it are not."""
        return self.farout.metric("farout_verdicts_shown_total") or 0

    def end(self):
        with contextlib.ExitStack() as ends:
            for one in (*self.kept.values(), *self.viewers):
                ends.callback(one.end)
            ends.callback(self.camera.kill)
            code = self.farout.end()
            assert code == 0, f"farout ended with {code}"
