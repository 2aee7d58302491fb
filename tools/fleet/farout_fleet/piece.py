"""What is to be done, in pieces that any machine can do: plain data, made by the driver and sent to the workers."""

from __future__ import annotations

import dataclasses
import hashlib
import json


@dataclasses.dataclass(frozen=True)
class Carried:
    """A file or folder of the driver's machine that goes along with the pieces, known by its content."""

    digest: str
    name: str
    # Where its packed bytes are: Ray's reference in a list, so that it is fetched by whoever lacks the file, not by each piece.
    bytes: tuple = ()


@dataclasses.dataclass
class Piece:
    """One run of farout.

    In `argv`, {in} stands for the folder of what was fetched, {out} for that of the results, {carried:NAME} for a carried
    file, {mirror:NAME} for a folder that a machine keeps for all pieces.
    """

    key: str
    title: str
    argv: list[str]
    # Addresses, versions and the paths below {in} that they are fetched to.
    fetch: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    carried: dict[str, Carried] = dataclasses.field(default_factory=dict)
    # Folders that are fetched once per machine: address and version.
    mirrored: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    # Results below {out} and where they are put: an address, or an ending such as ".shard" for a file beside the record.
    results: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    # Results of other pieces, by the name of their record in the work folder, that are fetched and verified first.
    needs: list[str] = dataclasses.field(default_factory=list)
    # What else the result depends on: a digest of it.
    seen: str = ""
    work: str = ""
    # File below {out} for what farout prints on standard output.
    stdout: str = ""
    env: dict[str, str] = dataclasses.field(default_factory=dict)

    def record(self, version: str) -> str:
        """Name of the record that tells that this very piece is done: it changes with all that the result depends on."""
        about = [version, self.argv, self.fetch, sorted((n, c.digest) for n, c in self.carried.items())]
        about += [sorted(self.mirrored.items()), self.results, self.needs, self.seen, sorted(self.env.items())]
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return f"{self.key}-{digest[:16]}.json"


    def address(self, where: str, version: str) -> str:
        """Where a result is put."""
        if not where.startswith("."):
            return where
        return f"{self.work.rstrip('/')}/{self.record(version).removesuffix('.json')}{where}"


@dataclasses.dataclass
class Done:
    """A piece that is done."""

    key: str
    record: str
    seconds: float = 0.0
    # Of these, the ones in which farout ran.
    running: float = 0.0
    host: str = ""
    kept: bool = False


class PieceFailed(Exception):
    """farout failed, or something around it; it is tried again. The message is for people."""


class Damaged(Exception):
    """What another piece stored is not there any more, or not what it was: trying again does not help."""


def deal(weights: list[float], pieces: int) -> list[range]:
    """Cuts a list into so many runs of about the same weight, none empty."""
    pieces = max(1, min(pieces, len(weights)))
    total, runs, start, before = sum(weights), [], 0, 0.0
    for number in range(1, pieces + 1):
        # At least one for this run, and one for each after it.
        end, last = start + 1, len(weights) - (pieces - number)
        before += weights[start]
        while end < last and (number == pieces or before + weights[end] / 2 <= total * number / pieces):
            before += weights[end]
            end += 1
        runs.append(range(start, end))
        start = end
    return runs


def tree(leaves: int, fan_in: int) -> list[list[range]]:
    """Levels of merges of `leaves` things, `fan_in` by `fan_in`, until `fan_in` are left or fewer: those are for the last merge."""
    levels = []
    while leaves > fan_in:
        level = [range(at, min(at + fan_in, leaves)) for at in range(0, leaves, fan_in)]
        levels.append(level)
        leaves = len(level)
    return levels
