"""Images with label masks, as a prepared model of farout sees them: scaled to fit, padded at the right and below."""

import hashlib
import json
import pathlib
import tomllib

import numpy as np
from PIL import Image

VOID = 255
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class Feed:
    """How a picture becomes the input of a model of fixed size."""

    def __init__(self, width, height, patch, mean, std, scale=1 / 255, bgr=False):
        self.width, self.height, self.patch = width, height, patch
        self.mean, self.std, self.scale, self.bgr = np.float32(mean), np.float32(std), scale, bgr

    def place(self, width, height):
        """Pixels of the picture within the input: whole patches, the frame's shape (farout's rule for fixed sizes)."""
        factor = min(self.width / width, self.height / height)

        def side(frame, most):
            units = int(frame * factor / self.patch + 0.5)
            return min(max(units, 1), most // self.patch) * self.patch

        return side(width, self.width), side(height, self.height)

    def grid(self, image):
        """Rows and columns of the cells that the picture covers."""
        width, height = self.place(*image.size)
        return height // self.patch, width // self.patch

    def __call__(self, image):
        """float32 `[3, height, width]`; the picture lies at the top left, the rest is the mean colour."""
        width, height = self.place(*image.size)
        pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), np.float32)
        if self.bgr:
            pixels = pixels[..., ::-1]
        padded = np.zeros((3, self.height, self.width), np.float32)
        padded[:, :height, :width] = ((pixels * self.scale - self.mean) / self.std).transpose(2, 0, 1)
        return padded


class Prepared:
    """A prepared file, and what it says of itself (metadata `farout.model` and `farout.origin`)."""

    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.path = pathlib.Path(path)
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        section = tomllib.loads(metadata.get("farout.model", ""))
        if "features" not in section:
            raise SystemExit(f"{path} is no prepared file; make one: farout model prepare {path} -o OUT --features norm")
        origin = json.loads(metadata.get("farout.origin") or "{}")
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self.origin_sha256 = origin.get("sha256", "")
        self.selectors = [selector for selector, _tensor in origin.get("features", [])]
        self.output = section["features"]
        self.feed = Feed(
            *map(int, section["size"].split("x")),
            section["patch"],
            section.get("mean", [0.485, 0.456, 0.406]),
            section.get("std", [0.229, 0.224, 0.225]),
            section.get("scale", 1 / 255),
            section.get("channels", "rgb") == "bgr",
        )
        self.input = self.session.get_inputs()[0].name

    def features(self, image):
        """float32 `[rows, cols, C]` of the cells that the picture covers."""
        (cells,) = self.session.run([self.output], {self.input: self.feed(image)[None]})
        rows, cols = self.feed.grid(image)
        return cells[0, :rows, :cols]


def pairs(location):
    """[(image, mask)] of a folder with images/ and labels/, or of IMAGES:LABELS; paired by stem."""
    images, _, labels = str(location).partition(":")
    if not labels:
        images, labels = pathlib.Path(location) / "images", pathlib.Path(location) / "labels"
    images, labels = pathlib.Path(images), pathlib.Path(labels)
    for folder in (images, labels):
        if not folder.is_dir():
            raise SystemExit(f"{location}: there is no folder {folder}")
    masks = {path.stem: path for path in labels.rglob("*.png")}
    found = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in PICTURES]
    lost = [path.name for path in found if path.stem not in masks]
    if lost or not found:
        raise SystemExit(f"{location}: {len(found)} images, {len(lost)} of them without a mask in {labels}: {lost[:3]}")
    return [(path, masks[path.stem]) for path in found]


def classes_of(mask, table):
    """uint8 `[rows, cols]`: numbers of the classes, VOID for everything else."""
    labels = np.asarray(Image.open(mask))
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise SystemExit(f"{mask}: a mask has one channel of 8 bits, this one is {labels.dtype} {labels.shape}")
    return table[labels]


def label_table(count, void, remap):
    """From label values to class numbers: value n is class n unless `remap` (value -> class) is given."""
    table = np.full(256, VOID, np.uint8)
    given = remap or {n: n for n in range(count)}
    for value, number in given.items():
        if not 0 <= number < count:
            raise SystemExit(f"label {value} is mapped to class {number}, there are {count} classes")
        table[value] = number
    for value in void:
        table[value] = VOID
    return table


def majority(labels, rows, cols, count):
    """uint8 `[rows, cols]`: the class that most pixels of a cell have; VOID where most are void."""
    height, width = labels.shape
    row = np.minimum(np.arange(height) * rows // height, rows - 1)
    col = np.minimum(np.arange(width) * cols // width, cols - 1)
    kinds = np.where(labels == VOID, count, labels).astype(np.int64)
    cell = (row[:, None] * cols + col[None, :]) * (count + 1) + kinds
    votes = np.bincount(cell.ravel(), minlength=rows * cols * (count + 1)).reshape(rows, cols, count + 1)
    # Cells finer than the pixels have no pixel of their own: they take the nearest one.
    winner = votes.argmax(2).astype(np.uint8)
    empty = votes.sum(2) == 0
    if empty.any():
        near_row = np.minimum((np.arange(rows) + 0.5) * height / rows, height - 1).astype(int)
        near_col = np.minimum((np.arange(cols) + 0.5) * width / cols, width - 1).astype(int)
        winner[empty] = kinds[near_row][:, near_col][empty].astype(np.uint8)
    winner[winner == count] = VOID
    return winner


class Cached:
    """Features of images, computed once per model and image, kept as float16 on the disk."""

    def __init__(self, model, folder):
        self.model = model
        self.folder = pathlib.Path(folder) / model.sha256[:16]
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, image):
        path = image.resolve()
        told = path.stat()
        key = hashlib.sha256(f"{path} {told.st_size} {told.st_mtime_ns}".encode()).hexdigest()[:24]
        kept = self.folder / f"{key}.npy"
        if not kept.exists():
            cells = self.model.features(Image.open(path)).astype(np.float16)
            part = kept.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, cells)
            part.rename(kept)
        return np.load(kept)
