"""Files of the driver's machine that every piece wants: model, bank, configuration, recipe, detector."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import sys
import tempfile

from . import storage
from .piece import Carried

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Flags of farout that name a file or folder which pieces read.
FLAGS = {
    "--model": "model",
    "--bank": "bank",
    "--detector": "detector",
    "--config": "config",
    "-c": "config",
    "--recipe": "recipe",
    "--region": "region",
    "--from": "from",
}
# Those whose value may be a name, too.
NAMES = ("recipe", "region")
# Keys of a configuration that do so, and the flag that overrides them.
KEYS = {("model", "path"): "--model", ("bank", "path"): "--bank"}
# Keys whose files would be missed: what they name lies beside the configuration.
STAYS = [("roi", "model"), ("supplement", "folder")]


class Baggage:
    """What is carried, packed once each."""

    def __init__(self, put, banks: bool = True):
        """`put` takes bytes and gives what stands for them. Without `banks`, farout's command takes none."""
        self.put, self.banks, self.carried = put, banks, {}

    def words(self, argv: list[str]) -> list[str]:
        """`argv` with braces for the files that go along."""
        words, given = [], set()
        at = 0
        while at < len(argv):
            flag, equals, value = argv[at].partition("=")
            at += 1
            if flag not in FLAGS:
                words.append(argv[at - 1])
                continue
            if not equals:
                if at == len(argv):
                    raise storage.StorageError(f"{flag} wants a value")
                value, at = argv[at], at + 1
            given.add(flag)
            words += [flag, self.add(FLAGS[flag], value)]
            if FLAGS[flag] == "config":
                words += self.of_config(value, argv)
        return words

    def add(self, name: str, path: str) -> str:
        """What stands for `path` in a command; a name, as of a shipped recipe, stands for itself."""
        if name in NAMES and not os.path.exists(path) and not storage.is_remote(path):
            return path
        if storage.is_remote(path):
            with tempfile.TemporaryDirectory() as folder:
                local = os.path.join(folder, path.rstrip("/").rsplit("/", 1)[-1])
                storage.fetch(path, local)
                return self._pack(name, local)
        if not os.path.exists(path):
            raise storage.StorageError(f"there is no {path}")
        return self._pack(name, path)

    def of_config(self, path: str, argv: list[str]) -> list[str]:
        """Flags for the files that a configuration names: its paths are relative to a folder that workers do not have."""
        with open(path, "rb") as file:
            try:
                config = tomllib.load(file)
            except tomllib.TOMLDecodeError as why:
                raise storage.StorageError(f"{path}: {why}") from None
        folder, flags = os.path.dirname(os.path.abspath(path)), []
        named = [f"{table}.{key}" for table, key in STAYS if config.get(table, {}).get(key)]
        if config.get("detector"):
            named.append("detector")
        if named:
            raise storage.StorageError(f"{path}: {', '.join(named)} does not travel; leave it out, or use a detector folder (--detector)")
        for (table, key), flag in KEYS.items():
            value = config.get(table, {}).get(key)
            given = any(word == flag or word.startswith(f"{flag}=") for word in argv)
            if value and not given and (flag != "--bank" or self.banks):
                flags += [flag, self.add(flag.removeprefix("--"), os.path.join(folder, value))]
        return flags

    def _pack(self, name: str, path: str) -> str:
        # Owners and times left out: the same content has the same digest.
        def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            return entry

        base, packed = os.path.basename(os.path.abspath(path)), io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(os.path.realpath(path), base, filter=plain)
        data = packed.getvalue()
        self.carried[name] = Carried(hashlib.sha256(data).hexdigest()[:32], base, self.put(data))
        return "{carried:" + name + "}"
