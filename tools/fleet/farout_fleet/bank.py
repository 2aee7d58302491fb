"""`farout-fleet bank build`: shards of the images, joined in a tree; byte for byte the bank of one machine."""

from __future__ import annotations

import bisect
import json
import logging
import os
import posixpath
import subprocess
import tempfile

from . import storage
from .carry import Baggage
from .engine import Ended, Engine
from .piece import Piece, PieceFailed, deal, tree
from .worker import fetch_verified

log = logging.getLogger("farout_fleet")

# Shards that are joined at once.
FAN_IN = 16
# Frames of a piece if nobody says: minutes on a processor, much longer than a piece's beginning.
FRAMES = 500
# What the stem of an image may end with that its label's does not.
IMAGE_ENDINGS = ("_leftImg8bit", "_raw_data", "_rgb")


def build(args, passed: list[str], engine: Engine) -> Ended:
    """Makes the bank at `args.output`. `passed` are the flags for farout."""
    baggage = Baggage(engine.put, banks=False)
    images = storage.find(args.images, storage.IMAGES | storage.VIDEOS)
    labels = storage.find([args.labels], {".png", ".bmp", ".webp"}) if args.labels else []
    frames = counted(images, args, engine)
    weights = [1.0 if count is None else max(1.0, count / (args.every or 1)) for count in frames]
    shares = deal(weights, args.pieces or max(1, round(sum(weights) / FRAMES)))
    of = len(shares)
    # A recipe may name them, too: what nobody gave is left to it.
    drawn = [word for flag, value in (("--every", args.every), ("--seed", args.seed)) if value is not None for word in (flag, str(value))]
    common = baggage.words(passed) + drawn
    with tempfile.TemporaryDirectory(prefix="farout-plan-") as folder:
        words = ["--plan", baggage.add("plan", plan(images, frames, of, (passed, drawn), engine, folder))]
    log.info("%d images and videos, %d frames to look at, %d pieces", len(images), sum(weights), of)
    stems = Stems(labels)
    pieces = []
    for number, share in enumerate(shares, 1):
        mine = [images[at] for at in share]
        key = f"shard-{number:06}-of-{of:06}"
        argv = ["bank", "build", "--images", "{in}/images", *words, *common, "--shard", f"{number}/{of}"]
        fetch = placed(mine, "images")
        if labels:
            argv += ["--labels", "{in}/labels", "--void", args.void]
            fetch += placed(stems.of(mine), "labels")
        if args.outliers and number == 1:
            fetch += placed(storage.find(args.outliers, storage.IMAGES | storage.VIDEOS), "outliers")
            argv += ["--outliers", "{in}/outliers"]
            if args.outlier_labels:
                fetch += placed(storage.find([args.outlier_labels], {".png", ".bmp", ".webp"}), "outlier-labels")
                argv += ["--outlier-labels", "{in}/outlier-labels", "--outlier-values", args.outlier_values]
        title = f"piece {number} of {of} ({mine[0].name} to {mine[-1].name})"
        argv += ["-o", "{out}/shard"]
        pieces.append(Piece(key, title, argv, fetch, dict(baggage.carried), results=[("shard", ".shard")]))
    last = join(pieces, ["--keep-held-out"] if "--keep-held-out" in passed else [], args, engine)
    ended = engine.wait(args.bar, "pieces")
    if last.key in ended.done:
        bring(engine, ended.done[last.key].record, args.output)
    return ended


def join(pieces: list[Piece], flags: list[str], args, engine: Engine) -> Piece:
    """Submits pieces and the merges of their results, level by level; the last merge."""
    levels, current = tree(len(pieces), args.fan_in), pieces
    merges: list[list[Piece]] = []
    for depth, level in enumerate(levels, 1):
        above = []
        for number, group in enumerate(level):
            of = [current[at] for at in group]
            above.append(merge(f"join-{depth}-{number:06}", of, ["--partial"], engine))
        merges.append(above)
        current = above
    last = merge("bank", current, flags, engine)
    wanted, submitted = {last.key}, set()
    # From the top: below what is done nothing is needed.
    order = [pieces, *merges, [last]]
    below = {last.key: [piece.key for piece in current]}
    for level, lower in zip(merges, [pieces, *merges], strict=False):
        for number, piece in enumerate(level):
            below[piece.key] = [child.key for child in lower[number * args.fan_in : (number + 1) * args.fan_in]]
    for level in reversed(order):
        for piece in level:
            if piece.key in wanted and not engine.is_done(piece):
                wanted.update(below.get(piece.key, []))
    for level in order:
        for piece in level:
            if piece.key in wanted:
                engine.submit(piece, [key for key in below.get(piece.key, []) if key in submitted])
                submitted.add(piece.key)
    return last


def merge(key: str, of: list[Piece], flags: list[str], engine: Engine) -> Piece:
    """The piece that joins the results of others."""
    argv = ["bank", "merge", "{needs.shard}", "-o", "{out}/result", *flags]
    for piece in of:
        # A record tells of these, too.
        piece.work, piece.env = engine.work, engine.env
    needs = [piece.record(engine.version) for piece in of]
    title = f"joining {len(of)} shards ({key})"
    results = [("result", ".shard" if "--partial" in flags else ".bank")]
    return Piece(key, title, argv, results=results, needs=needs)


def placed(files: list[storage.Stored], below: str) -> list[tuple[str, str, str]]:
    """Where files are fetched to. farout knows a file by the names of its folder and its own: those stay, and files that share
    both lie apart."""
    taken, places = {}, []
    for file in files:
        taken[file.name] = taken.get(file.name, -1) + 1
        places.append((file.address, f"{file.size} {file.version}", posixpath.join(below, str(taken[file.name]), file.name)))
    return places


class Stems:
    """Label masks by the beginning of their names."""

    def __init__(self, labels: list[storage.Stored]):
        stem = lambda file: posixpath.splitext(posixpath.basename(file.address))[0]  # noqa: E731
        self.all = sorted(((stem(file), file) for file in labels), key=lambda pair: (pair[0], pair[1].address))
        self.keys = [stem for stem, _ in self.all]

    def of(self, images: list[storage.Stored]) -> list[storage.Stored]:
        """All that may be a label of one of the images; farout takes the right ones."""
        found = {}
        for image in images:
            stem = posixpath.splitext(posixpath.basename(image.address))[0]
            core = next((stem.removesuffix(end) for end in IMAGE_ENDINGS if stem.endswith(end)), stem)
            at = bisect.bisect_left(self.keys, core)
            while at < len(self.all) and self.keys[at].startswith(core):
                found[self.all[at][1].address] = self.all[at][1]
                at += 1
        return list(found.values())


def counted(images: list[storage.Stored], args, engine: Engine) -> list[int | None]:
    """Frames of each video, counted where the pieces run."""
    keys = {}
    for number, file in enumerate(images):
        if file.is_video:
            key = f"count-{number:06}"
            argv = ["bank", "plan", "--images", "{in}/images", "--shards", "1", "--every", "1", "--json", "-o", "{out}/plan.json"]
            piece = Piece(key, f"counting {file.name}", argv, placed([file], "images"), results=[("plan.json", ".plan.json")])
            engine.submit(piece)
            keys[key] = (number, piece.address(".plan.json", engine.version))
    frames: list[int | None] = [None] * len(images)
    if keys:
        ended = engine.wait(args.bar, "videos")
        if ended.failed:
            raise PieceFailed(f"{len(ended.failed)} of {len(keys)} videos cannot be counted; what they said stands above")
        for number, address in keys.values():
            frames[number] = json.loads(storage.read(address))["of"]["frames"]
    return frames


def plan(images: list[storage.Stored], frames: list[int | None], of: int, flags: tuple, engine: Engine, folder: str) -> str:
    """Writes the list of all inputs, and has farout make a plan of it; its path."""
    listed, path = os.path.join(folder, "all.txt"), os.path.join(folder, "plan.json")
    with open(listed, "w") as file:
        for image, count in zip(images, frames, strict=True):
            file.write(image.address + ("" if count is None else f"\t{count}") + "\n")
    command = [engine.here, "bank", "plan", "--list", listed, "--shards", str(of)]
    passed, drawn = flags
    for at, word in enumerate(passed):
        if word == "--recipe":
            drawn = [*drawn, *passed[at : at + 2]]
        elif word.startswith("--recipe="):
            drawn = [*drawn, word]
    command += [*drawn, "-o", path]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise PieceFailed(f"farout bank plan ended with code {made.returncode}: {made.stderr.strip()}")
    return path


def bring(engine: Engine, record: str, output: str) -> None:
    """Copies the result of a piece to where it was asked for, and makes sure of it."""
    record = storage.join(engine.work, record)
    about = json.loads(storage.read(record))
    [result] = about["results"]
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "bank")
        fetch_verified(result, local, record, about["key"])
        storage.store(local, output)
