#!/usr/bin/env python3
"""Judges detection on synthetic frames with scikit-learn, independently of farout's own metrics.

Frames and truth come from `farout replay --bypass --source synthetic:... --frames-out DIR --truth DIR`:
NNNNNN.png (RGB), NNNNNN_class.png and NNNNNN_stranger.png (0 = normal) in one folder.

With --model and --reference, three detectors are compared on the same pixels:
  keys         mean unsquared L2 distance of a patch's keys to the k nearest reference keys
  lse          -logsumexp of the same model's logits
  mean colour  the same nearest-neighbour search on the mean RGB of each patch
With --scores, score maps written by farout (NNNNNN.npy, float32, frame size) are judged instead.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

MEAN, STD = 0.5, 0.5
# Stranger areas in pixels of a 640x360 frame; other sizes scale along.
SIZES = {"small": (1, 400), "medium": (400, 2500), "large": (2500, 10**9)}


def resize(array, height, width):
    """Bilinear, half-pixel centres, edges repeated, no smoothing first; the last two axes are the picture."""

    def taps(old, new):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = at.astype(int)
        return low, np.minimum(low + 1, old - 1), (at - low).astype(np.float32)

    if array.shape[-2:] == (height, width):
        return array
    a, b, t = taps(array.shape[-2], height)
    array = array[..., a, :] * (1 - t)[:, None] + array[..., b, :] * t[:, None]
    a, b, t = taps(array.shape[-1], width)
    return array[..., a] * (1 - t) + array[..., b] * t


def frames_in(folder, limit=None):
    """The pictures of one export or of several in folders below, in order."""
    found = [p for p in sorted(Path(folder).rglob("*.png")) if not p.stem.endswith(("_class", "_stranger"))]
    if not found:
        sys.exit(f"no NNNNNN.png in {folder}; write some with: farout replay --bypass --frames-out {folder} ...")
    return found[:limit]


def rgb(path):
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1).astype(np.float32)


def stranger_of(path):
    mask = path.with_name(path.stem + "_stranger.png")
    if not mask.exists():
        sys.exit(f"{mask} is missing; export with --truth {path.parent} too")
    return np.asarray(Image.open(mask))


class Model:
    """The ONNX model: a frame to keys [patches, C], LSE [h, w] and mean colours [patches, 3]."""

    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        _, _, self.height, self.width = self.session.get_inputs()[0].shape
        patches = self.session.get_outputs()[1].shape[1]
        patch = int(round((self.height * self.width / patches) ** 0.5))
        self.grid = (self.height // patch, self.width // patch)

    def __call__(self, picture):
        small = resize(picture, self.height, self.width)
        image = ((small / 255 - MEAN) / STD).astype(np.float32)[None]
        logits, keys = self.session.run(["logits", "keys"], {"image": image})
        top = logits[0].max(axis=0)
        lse = -(top + np.log(np.exp(logits[0] - top).sum(axis=0)))
        (gh, gw), (h, w) = self.grid, (self.height, self.width)
        colours = small.reshape(3, gh, h // gh, gw, w // gw).mean(axis=(2, 4)).reshape(3, -1).T
        return keys[0], lse, colours


def nearest(queries, bank, k):
    """Mean L2 distance of every query to its k nearest rows of the bank."""
    square = (queries**2).sum(1)[:, None] + (bank**2).sum(1) - 2 * queries @ bank.T
    part = np.partition(square, k - 1, axis=1)[:, :k]
    return np.sqrt(np.maximum(part, 0)).mean(axis=1)


def detect(args, frames):
    """Score maps of the three detectors, each [frames, H, W] as float32."""
    model = Model(args.model, args.threads)
    keys, colours = [], []
    for path in frames_in(args.reference):
        features, _, mean = model(rgb(path))
        keys.append(features)
        colours.append(mean)
    keys, colours = np.concatenate(keys), np.concatenate(colours)
    chosen = np.random.default_rng(args.seed).permutation(len(keys))[: args.count]
    keys, colours = keys[chosen], colours[chosen]
    print(f"bank: {len(keys)} of the reference patches, {keys.shape[1]} wide", file=sys.stderr)
    maps = {"keys": [], "lse": [], "mean colour": []}
    for path in frames:
        picture = rgb(path)
        features, lse, mean = model(picture)
        size = picture.shape[1:]
        maps["keys"].append(resize(nearest(features, keys, args.k).reshape(model.grid), *size))
        maps["lse"].append(resize(lse, *size))
        maps["mean colour"].append(resize(nearest(mean, colours, args.k).reshape(model.grid), *size))
    return {name: np.stack(each).astype(np.float32) for name, each in maps.items()}


def read_scores(folder, frames, root):
    """Score maps that farout wrote for the same frames, in the same folders below `folder`."""
    maps = []
    for path in frames:
        score = (Path(folder) / path.relative_to(root)).with_suffix(".npy")
        if not score.exists():
            sys.exit(f"{score} is missing: there must be one score map per frame")
        maps.append(np.load(score).astype(np.float32))
    return {"scores": np.stack(maps)}


def by_size(strangers):
    """For every pixel the index of its stranger's size + 1, or 0 where the world is normal."""
    scale = strangers.shape[1] * strangers.shape[2] / (640 * 360)
    out = np.zeros(strangers.shape, np.uint8)
    for frame, mask in enumerate(strangers):
        areas = np.bincount(mask.ravel(), minlength=256)
        for number in np.nonzero(areas[1:])[0] + 1:
            for index, (low, high) in enumerate(SIZES.values()):
                if low <= areas[number] / scale < high:
                    out[frame][mask == number] = index + 1
    return out


def measure(truth, score):
    """Pooled AP, FPR at the first threshold with TPR >= 0.95, and AUROC."""
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    return {
        "ap": float(average_precision_score(truth, score)),
        "fpr95": float(fpr[np.searchsorted(tpr, 0.95)]),
        "auroc": float(roc_auc_score(truth, score)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", required=True, help="folder of test frames with truth")
    parser.add_argument("--reference", help="folder of normal frames for the bank")
    parser.add_argument("--model", default="models/synthetic-vit.onnx")
    parser.add_argument("--scores", help="folder of farout's score maps to judge instead of a model")
    parser.add_argument("--count", type=int, default=12000, help="reference features in the bank")
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the bank's sample")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="judge every n-th pixel each way only")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    if not args.scores and not args.reference:
        parser.error("give --reference (with --model), or --scores")

    frames = frames_in(args.frames)
    strangers = np.stack([stranger_of(path) for path in frames])
    maps = read_scores(args.scores, frames, args.frames) if args.scores else detect(args, frames)
    if any(each.shape != strangers.shape for each in maps.values()):
        sys.exit(f"score maps are {next(iter(maps.values())).shape[1:]}, frames {strangers.shape[1:]}")
    sizes = by_size(strangers)
    pick = np.s_[:, :: args.every, :: args.every]
    sizes = sizes[pick].ravel()
    report = {"frames": len(frames), "positives": float((sizes > 0).mean()), "methods": {}}
    for name, score in maps.items():
        score = score[pick].ravel()
        result = measure(sizes > 0, score)
        for index, size in enumerate(SIZES):
            keep = (sizes == 0) | (sizes == index + 1)
            if (sizes == index + 1).any():
                result[f"ap_{size}"] = float(average_precision_score(sizes[keep] > 0, score[keep]))
        report["methods"][name] = result

    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['frames']} frames, {100 * report['positives']:.2f} % of the pixels are strangers'")
    columns = ["ap", "fpr95", "auroc"] + [f"ap_{size}" for size in SIZES]
    print(f"{'':12}" + "".join(f"{c:>11}" for c in columns))
    for name, result in report["methods"].items():
        print(f"{name:12}" + "".join(f"{result.get(c, float('nan')):11.4f}" for c in columns))


if __name__ == "__main__":
    main()
