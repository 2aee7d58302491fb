"""One piece on one machine: fetch, run farout, store, record."""

from __future__ import annotations

import ctypes
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

from . import storage
from .piece import Carried, Damaged, Done, Piece, PieceFailed

# Lines of farout's own words that go into an error.
TAIL = 12


def run(piece: Piece, farout: str, version: str) -> Done:
    """Does `piece` with the program `farout`, which must be of `version`.

    Raises PieceFailed with the program's own words; nothing is recorded then.
    """
    begun = time.monotonic()
    cache = os.environ.get("FAROUT_FLEET_CACHE") or os.path.join(tempfile.gettempdir(), f"farout-fleet-{os.getuid()}")
    os.makedirs(cache, mode=0o700, exist_ok=True)
    if os.stat(cache).st_uid != os.getuid():
        raise PieceFailed(f"{cache} on {socket.gethostname()} belongs to somebody else; set FAROUT_FLEET_CACHE there")
    with tempfile.TemporaryDirectory(prefix="piece-", dir=cache) as folder:
        try:
            places = prepare(piece, folder, cache)
            records = [needed(piece, record, places["in"]) for record in piece.needs]
            must_be(farout, version)
            started = time.monotonic()
            execute([farout, *filled(piece.argv, places, records)], piece, places["out"])
            running = time.monotonic() - started
            done = Done(piece.key, piece.record(version), host=socket.gethostname(), running=running)
            keep(piece, places["out"], done, version)
        except (Damaged, PieceFailed):
            raise
        except storage.StorageError as why:
            raise PieceFailed(f"{piece.title}: {why}") from None
        except Exception as why:
            # Object storage has many ways to fail; most of them pass.
            raise PieceFailed(f"{piece.title} on {socket.gethostname()}: {type(why).__name__}: {why}") from why
    done.seconds = time.monotonic() - begun
    return done


def prepare(piece: Piece, folder: str, cache: str) -> dict[str, str]:
    """Puts all that the piece wants below `folder`; what stands for the braces in its command."""
    places = {"in": os.path.join(folder, "in"), "out": os.path.join(folder, "out")}
    for place in places.values():
        os.makedirs(place)
    for address, _, below in piece.fetch:
        storage.fetch(address, os.path.join(places["in"], below))
    for name, carried in piece.carried.items():
        places[f"carried:{name}"] = unpacked(carried, cache)
    for name, (address, version) in piece.mirrored.items():
        places[f"mirror:{name}"] = mirror(address, version, cache)
    return places


def needed(piece: Piece, record: str, folder: str) -> dict:
    """Fetches what another piece left, and makes sure that it is what that piece wrote."""
    try:
        about = json.loads(storage.read(storage.join(piece.work, record)))
    except storage.StorageError as why:
        raise Damaged(f"{piece.title}: {why}; run the same command again: it will be done anew") from None
    for result in about["results"]:
        fetch_verified(result, os.path.join(folder, result["name"]), storage.join(piece.work, record), about["key"])
    return about


def fetch_verified(result: dict, local: str, record: str, key: str) -> None:
    """Fetches a result, which must be what its record says. If not, the record is removed: its piece is done again then."""
    try:
        storage.fetch(result["address"], local)
        found = storage.sha256(local)
    except storage.StorageError as why:
        storage.remove(record)
        raise Damaged(f"{why}; run the same command again: {key} will be done anew") from None
    if found != result["sha256"]:
        storage.remove(record)
        raise Damaged(
            f"{result['address']} is not what {key} wrote (SHA-256 {found[:12]}, not {result['sha256'][:12]}); "
            f"run the same command again: {key} will be done anew"
        )


def filled(argv: list[str], places: dict[str, str], records: list[dict]) -> list[str]:
    """The command with paths for what is in braces; {needs} becomes all files that were needed."""
    command = []
    for word in argv:
        if word.startswith("{needs"):
            suffix = word[len("{needs") : -1]
            all_ = [result["name"] for record in records for result in record["results"]]
            command += [os.path.join(places["in"], name) for name in all_ if name.endswith(suffix)]
            continue
        for name, path in places.items():
            word = word.replace("{" + name + "}", path)
        command.append(word)
    return command


def must_be(farout: str, version: str) -> None:
    """Two versions of farout on one piece of work might differ in the results."""
    try:
        found = subprocess.run([farout, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as why:
        raise PieceFailed(f"{socket.gethostname()} cannot run {farout}: {why}; install farout there, or name it with --farout") from None
    if found != version:
        raise PieceFailed(f"{socket.gethostname()} has {found}, the driver {version}: install the same on both")


def execute(command: list[str], piece: Piece, out: str) -> None:
    """Runs the program; what it says is an error's words if it fails."""
    env = {**os.environ, **piece.env}
    with tempfile.TemporaryFile() as said:
        printed = open(os.path.join(out, piece.stdout), "wb") if piece.stdout else subprocess.DEVNULL
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=said, env=env, preexec_fn=ends_with_parent)
        try:
            code = child.wait()
        finally:
            # A piece that is cancelled does not leave its program behind.
            if child.poll() is None:
                child.kill()
                child.wait()
            if piece.stdout:
                printed.close()
        if code != 0:
            said.seek(max(0, said.seek(0, io.SEEK_END) - 8192))
            lines = said.read().decode(errors="replace").strip().splitlines()[-TAIL:]
            words = "\n".join(f"    {line}" for line in lines)
            raise PieceFailed(f"{piece.title} on {socket.gethostname()}: farout ended with code {code}\n{words}")


def ends_with_parent() -> None:
    """A worker that is killed takes its program along (PR_SET_PDEATHSIG of Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def keep(piece: Piece, out: str, done: Done, version: str) -> None:
    """Stores the results, and last the record that says so."""
    results = []
    for below, where in piece.results:
        local, address = os.path.join(out, below), piece.address(where, version)
        if not os.path.exists(local):
            continue
        storage.store(local, address)
        name = address.rsplit("/", 1)[-1]
        digest = storage.sha256(local) if os.path.isfile(local) else ""
        results.append({"name": name, "address": address, "sha256": digest})
    about = {"key": piece.key, "title": piece.title, "host": done.host, "made": storage.now(), "seconds": done.running}
    text = json.dumps({**about, "results": results}, indent=1).encode()
    storage.write(text, storage.join(piece.work, done.record))


class Locked:
    """One process of this machine at a time."""

    def __init__(self, path: str):
        self.path = path

    def __enter__(self):
        self.file = open(self.path, "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def once(path: str, make) -> str:
    """`path`, made by `make(half)` if it is not there yet; half of it never has its name."""
    with Locked(f"{path}.lock"):
        if not os.path.exists(path):
            half = tempfile.mkdtemp(prefix="half-", dir=os.path.dirname(path))
            try:
                make(half)
                os.rename(half, path)
            except BaseException:
                shutil.rmtree(half, ignore_errors=True)
                raise
    return path


def unpacked(carried: Carried, cache: str) -> str:
    """The carried file or folder on this machine."""

    def make(half: str) -> None:
        import ray

        packed = ray.get(carried.bytes[0])
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            # The driver packed it; older Pythons know no filter.
            tar.extractall(half, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))

    return os.path.join(once(os.path.join(cache, f"carried-{carried.digest}"), make), carried.name)


def mirror(address: str, version: str, cache: str) -> str:
    """A folder of object storage on this machine, fetched once."""
    return once(os.path.join(cache, f"mirror-{version}"), lambda half: storage.fetch_folder(address, half))
