"""Files here and in object storage, by fsspec: an address is a path or an URL such as s3://bucket/drives."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import posixpath
import re
import tempfile
import time
import uuid

import fsspec

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
VIDEOS = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".h264", ".h265", ".flv",
    ".3gp", ".wmv",
}  # fmt: skip


class StorageError(Exception):
    """Something is not where it should be; the message names it."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """A file, and what tells this version of it from others."""

    address: str
    size: int
    version: str

    @property
    def name(self) -> str:
        """Folder and file name, as farout calls it."""
        folder, file = posixpath.split(self.address.replace(os.sep, "/"))
        return f"{posixpath.basename(folder)}/{file}"

    @property
    def is_video(self) -> bool:
        return ending(self.address) in VIDEOS


def ending(address: str) -> str:
    return posixpath.splitext(address)[1].lower()


def is_remote(address: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*://", address) is not None and not address.startswith("file://")


def _open(address: str):
    """File system and path in it."""
    if not is_remote(address):
        address = os.path.abspath(address.removeprefix("file://"))
    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as why:
        raise StorageError(f"cannot use {address}: {why}") from why


def natural(text: str):
    """Key by which f9 comes before f10."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", text)]


def find(given: list[str], endings: set[str]) -> list[Stored]:
    """The files that `given` names: files, globs, folders with all below them. Of folders and globs those with these
    endings, hidden ones left out; natural order, each once."""
    found: dict[str, Stored] = {}
    for address in given:
        fs, path = _open(address)
        try:
            if any(sign in path for sign in "*?["):
                entries = fs.glob(path, detail=True)
            elif fs.isdir(path):
                entries = fs.find(path, detail=True) if is_remote(address) else _walk(path)
            elif fs.exists(path):
                entries = {path: fs.info(path)}
                if ending(path) not in endings:
                    raise StorageError(f"{address} is none of {', '.join(sorted(endings))}")
            else:
                raise StorageError(f"there is nothing at {address}")
        except (OSError, PermissionError) as why:
            raise StorageError(f"cannot list {address}: {why}") from why
        matching = False
        for path_, about in entries.items():
            below = path_[len(path.rstrip("/")) :] if path_.startswith(path) else posixpath.basename(path_)
            hidden = any(part.startswith(".") for part in below.split("/") if part)
            if about.get("type") == "file" and ending(path_) in endings and not hidden:
                full = fs.unstrip_protocol(path_) if is_remote(address) else path_
                matching, found[full] = True, Stored(full, about.get("size") or 0, _version(about))
        if not matching:
            raise StorageError(f"there is no file at {address} that ends with {', '.join(sorted(endings))}")
    return sorted(found.values(), key=lambda stored: natural(stored.address))


def _walk(folder: str) -> dict[str, dict]:
    """All files below a local folder; links are followed, as farout does."""
    found = {}
    for root, _, files in os.walk(folder, followlinks=True):
        for file in files:
            path = os.path.join(root, file)
            if os.path.isfile(path):
                about = os.stat(path)
                found[path] = {"type": "file", "size": about.st_size, "mtime": about.st_mtime_ns}
    return found


def everything(folder: str) -> list[Stored]:
    """All files below a folder."""
    fs, path = _open(folder)
    entries = fs.find(path, detail=True) if is_remote(folder) else _walk(path)
    if not entries:
        raise StorageError(f"there is nothing at {folder}")
    return [Stored(path, about.get("size") or 0, _version(about)) for path, about in sorted(entries.items())]


def _version(about: dict) -> str:
    """What changes when the file does: its tag, else when it was changed."""
    for key in ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated"):
        if about.get(key) is not None:
            return str(about[key])
    return ""


def names(folder: str) -> set[str]:
    """Names of the files in `folder`; none if there is no such folder."""
    fs, path = _open(folder)
    fs.invalidate_cache()
    try:
        return {posixpath.basename(entry) for entry in fs.ls(path, detail=False)}
    except FileNotFoundError:
        return set()


def fetch(address: str, to: str) -> None:
    """Copies a file to a local path."""
    os.makedirs(os.path.dirname(to), exist_ok=True)
    fs, path = _open(address)
    try:
        if not is_remote(address):
            # A second name costs nothing; over the border of a file system it is a copy.
            try:
                os.link(os.path.realpath(path), to)
                return
            except OSError:
                pass
        fs.get_file(path, to)
    except (OSError, PermissionError) as why:
        raise StorageError(f"cannot read {address}: {why}") from why


def fetch_folder(address: str, to: str) -> None:
    """Copies all below a folder."""
    fs, path = _open(address)
    for entry in fs.find(path):
        fetch(fs.unstrip_protocol(entry) if is_remote(address) else entry, os.path.join(to, os.path.relpath(entry, path)))


def store(local: str, address: str) -> None:
    """Puts a local file or folder at `address`: a file with its final name is complete."""
    if os.path.isdir(local):
        for root, _, files in os.walk(local):
            for file in files:
                full = os.path.join(root, file)
                store(full, join(address, *os.path.relpath(full, local).split(os.sep)))
        return
    fs, path = _open(address)
    try:
        if is_remote(address):
            fs.put_file(local, path)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        half = f"{path}.{uuid.uuid4().hex}.part"
        fs.put_file(local, half)
        os.replace(half, path)
    except (OSError, PermissionError) as why:
        raise StorageError(f"cannot write {address}: {why}") from why


def write(data: bytes, address: str) -> None:
    """As [`store`], of bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        store(file.name, address)


def read(address: str) -> bytes:
    fs, path = _open(address)
    try:
        return fs.cat_file(path)
    except (OSError, PermissionError) as why:
        raise StorageError(f"cannot read {address}: {why}") from why


def remove(address: str) -> None:
    """Removes a file, or a folder with all below it; nothing there is fine."""
    fs, path = _open(address)
    try:
        fs.rm(path, recursive=True)
    except FileNotFoundError:
        pass


def join(address: str, *parts: str) -> str:
    return "/".join([address.rstrip("/"), *parts])


def sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
