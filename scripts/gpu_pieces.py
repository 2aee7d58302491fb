#!/usr/bin/env python3
"""Files parted into pieces that can be carried one by one, and put together again from those that are there.

gpu_pieces.py pack FOLDER LIMIT_MB THIS...   from FOLDER/whole; THIS goes into every piece.  Reading is `unpack`.
gpu_pieces.py thin LIBRARY ARCH...           empties the machine code of all other GPU architectures in a library
"""

import hashlib
import json
import lzma
import pathlib
import shutil
import struct
import sys

# Compressed blocks at most: small enough to fill pieces, large enough to compress well.
BLOCK = 8 << 20


def unpack(packed, target):
    """Writes what is whole to `target`; returns, by kind, what is not and why."""
    lists = sorted(packed.glob("*/pieces.json"))
    if not lists:
        return {"programs": f"there is no piece in {packed}"}
    listed, lacks = json.loads(lists[0].read_text()), {}
    for file in listed["files"]:
        goal, parts = target / file["name"], [packed / part for part in file["parts"]]
        away = sorted({part.parent.name for part in parts if not part.exists()})
        if away:
            lacks[file["kind"]] = f"piece {', '.join(away)} of {listed['pieces']} is not here"
            continue
        if goal.exists() and hashlib.sha256(goal.read_bytes()).hexdigest() == file["sha256"]:
            continue
        try:
            data = b"".join(lzma.decompress(part.read_bytes()) for part in parts)
        except lzma.LZMAError as why:
            lacks[file["kind"]] = f"{file['name']} is damaged: {why}"
            continue
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            lacks[file["kind"]] = f"{file['name']} is damaged: its digest is another"
            continue
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(data)
        goal.chmod(file["mode"])
    return lacks


def kind_of(name):
    first = name.parts[0]
    return {"programs": "programs", "kernels": "kernels", "onnxruntime": "onnxruntime"}.get(first, "models")


def compressed(block):
    return lzma.compress(block, preset=6)


def pack(folder, limit, everywhere):
    """Parts FOLDER/whole into FOLDER/1, FOLDER/2, ..., the programs first, each below `limit` bytes."""
    from concurrent.futures import ProcessPoolExecutor

    whole, files, blocks, most = folder / "whole", [], [], min(BLOCK, limit // 4)
    order = ["programs", "kernels", "models", "onnxruntime"]
    names = sorted((path.relative_to(whole) for path in whole.rglob("*") if path.is_file()), key=lambda n: (order.index(kind_of(n)), n))
    for name in names:
        data = (whole / name).read_bytes()
        count = max(1, -(-len(data) // most))
        files.append({"name": str(name), "kind": kind_of(name), "mode": (whole / name).stat().st_mode & 0o777,
                      "sha256": hashlib.sha256(data).hexdigest(), "parts": []})
        blocks += [(files[-1], data[at * most:(at + 1) * most]) for at in range(count)]
    own = sum(path.stat().st_size for path in everywhere) + (1 << 16)
    piece, size = 1, own
    with ProcessPoolExecutor() as pool:
        for number, ((file, _), data) in enumerate(zip(blocks, pool.map(compressed, [block for _, block in blocks]))):
            if size + len(data) > limit:
                piece, size = piece + 1, own
            size += len(data)
            part = folder / str(piece) / f"{number:03}.xz"
            part.parent.mkdir(exist_ok=True)
            part.write_bytes(data)
            file["parts"].append(f"{piece}/{part.name}")
    for number in range(1, piece + 1):
        here = folder / str(number)
        (here / "pieces.json").write_text(json.dumps({"pieces": piece, "files": files}, indent=1))
        for path in everywhere:
            shutil.copy(path, here / path.name)
        total = sum(path.stat().st_size for path in here.iterdir())
        assert total < limit, f"piece {number} has {total} bytes"
        print(f"{here}: {total / 2**20:.1f} MiB, {', '.join(sorted({f['kind'] for f in files for p in f['parts'] if p.startswith(f'{number}/')}))}")


def sections(data):
    """The sections of a 64-bit little-endian ELF file: name, offset, size."""
    start, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    entries = [struct.unpack_from("<IIQQQQ", data, start + i * size) for i in range(count)]
    for entry in entries:
        name = entries[names][4] + entry[0]
        yield bytes(data[name:data.index(b"\0", name)]), entry[4], entry[5]


def thin(library, keep):
    """Fills machine code for other architectures with zeros. Headers and sizes stay, so that the driver, which chooses by
    the headers, finds the rest where it was; zeros compress to nothing."""
    data = bytearray(library.read_bytes())
    kept = emptied = 0
    for name, at, length in sections(data):
        if name != b".nv_fatbin":
            continue
        end = at + length
        while at + 16 <= end:
            magic, _, header, body = struct.unpack_from("<IHHQ", data, at)
            if magic != 0xBA55ED50:
                at += 8
                continue
            entry, stop = at + header, at + header + body
            while entry < stop:
                kind, _, own, size = struct.unpack_from("<HHIQ", data, entry)
                arch, = struct.unpack_from("<I", data, entry + 28)
                # 2: machine code; 1: PTX, which is needed for none of the architectures that are kept.
                if kind == 2 and arch in keep:
                    kept += size
                else:
                    data[entry + own:entry + own + size] = bytes(size)
                    emptied += size
                entry += own + size
            at = stop
    assert kept, f"{library} holds no machine code for {keep}"
    library.write_bytes(data)
    print(f"{library.name}: {kept / 1e6:.1f} MB of machine code kept, {emptied / 1e6:.1f} MB emptied", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1] == "pack":
        pack(pathlib.Path(sys.argv[2]), int(sys.argv[3]) << 20, [pathlib.Path(path) for path in sys.argv[4:]])
    else:
        thin(pathlib.Path(sys.argv[2]), {int(arch.removeprefix("sm_")) for arch in sys.argv[3:]})
