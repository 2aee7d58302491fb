"""`farout-fleet eval`: parts of a data set, judged together as one run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile

from . import storage
from .carry import Baggage
from .engine import Ended, Engine
from .piece import Piece, PieceFailed
from .worker import fetch_verified


def run(args, passed: list[str], engine: Engine) -> Ended:
    """Judges the detector on `args.dataset`; the last step, which needs all score maps, runs where the driver does."""
    kind, colon, place = args.dataset.partition(":")
    if not colon:
        raise storage.StorageError(f"{args.dataset} is no data set; give KIND:PATH, such as roadanomaly:s3://bucket/RoadAnomaly_jpg")
    baggage = Baggage(engine.put)
    words = baggage.words(passed)
    mirrored, dataset, file = {}, f"{kind}:{os.path.abspath(place)}", ""
    remote = storage.is_remote(place)
    if remote:
        if kind == "folder":
            # The file that describes the data set lies in its folder.
            place, _, name = place.rpartition("/")
            file = f"/{name}"
    # Which images there are is part of the protocol: of another list, no part is of use.
    files = storage.everything(os.path.dirname(os.path.abspath(place)) if kind == "folder" and not remote else place)
    seen = hashlib.sha256(json.dumps([(file.address, file.size, file.version) for file in files]).encode()).hexdigest()[:32]
    if remote:
        # Every machine needs it whole.
        mirrored = {"dataset": (place, seen)}
        dataset = kind + ":{mirror:dataset}" + file
    pieces = []
    for number in range(1, args.pieces + 1):
        key = f"part-{number:06}-of-{args.pieces:06}"
        argv = ["eval", *words, "--dataset", dataset, "--shard", f"{number}/{args.pieces}", "--json", "{out}/part.json"]
        results = [("part.json", ".part.json"), ("part.maps", ".part.maps")]
        title = f"piece {number} of {args.pieces}"
        pieces.append(Piece(key, title, argv, [], dict(baggage.carried), mirrored, results, seen=seen))
    for piece in pieces:
        engine.submit(piece)
    ended = engine.wait(args.bar, "pieces")
    if not ended.failed:
        with tempfile.TemporaryDirectory(prefix="farout-eval-") as folder:
            if remote:
                local = os.path.join(folder, "dataset")
                storage.fetch_folder(place, local)
                dataset = f"{kind}:{local}{file}"
            judge([ended.done[piece.key].record for piece in pieces], dataset, folder, args, engine)
    return ended


def judge(records: list[str], dataset: str, folder: str, args, engine: Engine) -> None:
    """Fetches all parts and has farout join them."""
    parts = []
    for number, record in enumerate(records, 1):
        record = storage.join(engine.work, record)
        about = json.loads(storage.read(record))
        for result in about["results"]:
            # Each part's JSON names its maps as the piece wrote them.
            local = os.path.join(folder, f"{number:06}", "part" + os.path.splitext(result["name"])[1])
            fetch_verified(result, local, record, about["key"])
            if local.endswith(".json"):
                parts.append(local)
    command = [engine.here, "eval", "merge", *parts, "--dataset", dataset]
    for flag, value in (("--json", args.json), ("--report", args.report), ("--scores", args.scores)):
        command += [flag, value] if value else []
    if subprocess.run(command, check=False).returncode != 0:
        raise PieceFailed("farout eval merge failed; what it said stands above. The parts are kept: run the same command again")
