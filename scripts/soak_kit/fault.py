"""The list of faults, and what they share."""

import os
import pathlib
import random
import time

from .rig import Camera, Farout, Viewer, free_port, wait

FAULTS = []
# A picture has to be back so many seconds after its cause has ended.
BACK = float(os.environ.get("FAROUT_SOAK_BACK", "3"))


def fault(group, name):
    """Registers a fault: a function of a `Rig`. What it returns is told, None means left out; what it raises is a failure."""
    def register(function):
        FAULTS.append((group, name, function))
        return function
    return register


class Rig:
    """What most faults share: a farout with one camera called "front", and a viewer over RTSP and one over HTTP who stay."""

    def __init__(self, folder, long):
        self.folder, self.long = pathlib.Path(folder), long
        self.random = random.Random(1)
        self.port = free_port()
        self.camera = Camera(self.port)
        keys = f'source = "rtsp://127.0.0.1:{self.port}/camera"\nwait = true\ntimeout_secs = 2.0'
        more = f'[events]\nfolder = "{self.folder}/farout/events"\n'
        self.farout = Farout(self.folder / "farout", {"front": keys}, more)
        self.farout.ready()
        self.viewers = [Viewer(self.farout.url()), Viewer(self.farout.url(scheme="mp4"))]
        wait("viewer's picture", 15, lambda: all(viewer.watches() for viewer in self.viewers))

    def back(self, since):
        """The picture is there again, for those who have stayed, too; the seconds since `since`."""
        wait("camera's picture", BACK + 5, self.farout.is_running)
        took = time.monotonic() - since
        assert took <= BACK, f"the picture was back after {took:.1f} s only"
        self.nobody_lost()
        return took

    def nobody_lost(self):
        for viewer in self.viewers:
            assert viewer.is_there(), "a viewer was lost"
        wait("picture for the viewers", 5, lambda: all(viewer.watches() for viewer in self.viewers))

    def lost(self, seconds=8):
        """The loss of the camera shows in state, metrics and picture."""
        wait("word of the loss", seconds, lambda: (self.farout.stream() or {}).get("state") == "lost")
        assert self.farout.metric("farout_source_up") == 0, "source_up is not 0"

    def end(self):
        for viewer in self.viewers:
            viewer.end()
        self.camera.kill()
        code = self.farout.end()
        assert code == 0, f"farout ended with {code}"
