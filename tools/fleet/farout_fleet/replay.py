"""`farout-fleet replay`: many recordings, each as `farout replay` does it, each with a folder of results."""

from __future__ import annotations

import collections
import hashlib
import logging
import posixpath

from . import storage
from .bank import placed
from .carry import Baggage
from .engine import Ended, Engine
from .piece import Piece

log = logging.getLogger("farout_fleet")

# Flags of farout that name what is written: each recording's own folder gets it.
WRITTEN = ("events", "video", "scores", "pictures", "frames_out")


def run(args, passed: list[str], engine: Engine) -> Ended:
    """Replays all recordings at `args.sources` into `args.output`."""
    recordings = storage.find(args.sources, storage.VIDEOS)
    baggage = Baggage(engine.put)
    words = baggage.words(passed)
    stems = collections.Counter(posixpath.splitext(recording.name)[0] for recording in recordings)
    names = collections.Counter(recording.name for recording in recordings)
    for recording in recordings:
        key = hashlib.sha256(recording.address.encode()).hexdigest()[:16]
        # Recordings that would meet keep their endings apart, and if that does not help, what they come from.
        folder = recording.name if stems[posixpath.splitext(recording.name)[0]] > 1 else posixpath.splitext(recording.name)[0]
        folder = (f"{folder}-{key}" if names[recording.name] > 1 else folder).strip("/")
        target = storage.join(args.output, folder)
        argv = ["replay", "--source", "{in}/" + placed([recording], "source")[0][2], *words, "--json"]
        results = [("report.json", storage.join(target, "report.json"))]
        for flag in WRITTEN:
            if value := getattr(args, flag):
                argv += ["--" + flag.replace("_", "-"), "{out}/" + value]
                results.append((value, storage.join(target, value)))
        piece = Piece(f"replay-{key}", recording.name, argv, placed([recording], "source"), dict(baggage.carried))
        piece.results, piece.stdout = results, "report.json"
        engine.submit(piece)
    log.info("%d recordings", len(recordings))
    return engine.wait(args.bar, "recordings")
