#!/usr/bin/env python3
"""Marks vehicles and people in road pictures by a model trained on Cityscapes: real things, not pasted, to judge a bank on
that was built without them.

    tools/label_things.py efficientvit_seg_b0_cityscapes_512x1024.onnx PICTURES... -o OUT [--void-labels DIR]

A picture argument is a file, a folder, or a film with a number of frames to take of it (drive.mp4:6, by ffmpeg). Writes
OUT/images/NAME.png, scaled into 1280x720, and OUT/labels/NAME.png: 1 where the classes person, rider, car, truck, bus, train,
motorcycle and bicycle have a probability above 0.7 together, 0 where it is below 0.1, 255 between, in parts of less than 60
pixels at the model's size, and in the lowest 15 % of the picture, where the camera's own car is. --void-labels names masks with
the stems of the pictures; what is not 0 there is 255 here. A model's word is no truth: look at the pictures, and leave out
where it errs (at night, on empty motorways).
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import onnxruntime
from PIL import Image
from scipy import ndimage

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
WIDTH, HEIGHT = 1024, 512
THINGS = range(11, 19)  # Of Cityscapes' 19 training classes.
FILMS = {".mp4", ".mkv", ".mov", ".avi"}
PICTURES = {".png", ".jpg", ".jpeg"}


def pictures(arguments):
    """Pairs of a name and a picture."""
    for argument in arguments:
        film, _, count = argument.rpartition(":")
        if count.isdigit() and pathlib.Path(film).suffix in FILMS:
            yield from frames(pathlib.Path(film), int(count))
            continue
        path = pathlib.Path(argument)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.suffix.lower() in PICTURES:
                yield file.stem, Image.open(file).convert("RGB")


def frames(film, count):
    """So many frames at equal distances, the first one included."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-count_packets", "-show_entries", "stream=nb_read_packets",
             "-of", "csv=p=0", film]  # fmt: skip
    total = int(subprocess.run(probe, check=True, capture_output=True, text=True).stdout.strip().strip(","))
    with tempfile.TemporaryDirectory() as folder:
        take = f"select=not(mod(n\\,{max(1, total // count)}))"
        subprocess.run(["ffmpeg", "-v", "error", "-i", film, "-vf", take, "-fps_mode", "passthrough", "-frames:v", str(count),
                        f"{folder}/%02d.png"], check=True)  # fmt: skip
        for file in sorted(pathlib.Path(folder).iterdir()):
            yield f"{film.stem}_{file.stem}", Image.open(file).convert("RGB")


def scaled(picture, width, height):
    """The picture, as large as fits; never enlarged."""
    factor = min(1, width / picture.width, height / picture.height)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BILINEAR)


def label(session, picture):
    """0, 1 and 255 for each pixel of the picture."""
    small = scaled(picture, WIDTH, HEIGHT)
    data = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    data[: small.height, : small.width] = (np.asarray(small, np.float32) / 255 - MEAN) / STD
    (logits,) = session.run(["logits_s8"], {session.get_inputs()[0].name: data.transpose(2, 0, 1)[None]})
    stride = HEIGHT // logits.shape[2]
    logits = logits[0, :, : -(-small.height // stride), : -(-small.width // stride)]
    odds = np.exp(logits - logits.max(0))
    share = (odds / odds.sum(0))[THINGS.start : THINGS.stop].sum(0)
    share = np.asarray(Image.fromarray(share).resize(small.size, Image.Resampling.BILINEAR))
    mask = np.where(share > 0.7, 1, np.where(share < 0.1, 0, 255)).astype(np.uint8)
    parts, count = ndimage.label(mask == 1)
    sizes = ndimage.sum_labels(mask == 1, parts, range(1, count + 1))
    mask[np.isin(parts, 1 + np.flatnonzero(sizes < 60))] = 255
    mask[int(0.85 * len(mask)) :] = 255
    return np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)).copy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("-o", "--out", type=pathlib.Path, required=True)
    parser.add_argument("--void-labels", type=pathlib.Path)
    args = parser.parse_args()
    for what in ("images", "labels"):
        (args.out / what).mkdir(parents=True, exist_ok=True)
    session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    for name, picture in pictures(args.pictures):
        picture = scaled(picture, 1280, 720)
        mask = label(session, picture)
        if args.void_labels:
            other = Image.open(args.void_labels / f"{name}.png").resize(picture.size, Image.Resampling.NEAREST)
            mask[ndimage.binary_dilation(np.asarray(other) != 0, iterations=3)] = 255
        picture.save(args.out / f"images/{name}.png")
        Image.fromarray(mask).save(args.out / f"labels/{name}.png")
        print(f"{name}: {100 * (mask == 1).mean():.1f} % things, {100 * (mask == 255).mean():.1f} % void")


if __name__ == "__main__":
    main()
