#!/usr/bin/env python3
"""Pastes strange things into pictures of ordinary roads: known outliers for a bank, or a set to judge on.

    tools/paste_outliers.py --images camvid/train/images --every 4 --scraps -o outliers
    tools/paste_outliers.py --images stills --objects fs_static --fold even --size 1280x720 -o pasted

Writes OUT/images/NAME.png and OUT/labels/NAME.png (0 normal, 1 pasted, 255 along the outline). What is pasted:

- --scraps: outlines at random, filled with a piece of another of the pictures, zoomed, recoloured and shaded. They need
  nothing but the pictures, and look like no thing that there is.
- --objects DIR: what DIR/labels marks with 1 in DIR/images (the layout of Fishyscapes Static), freed of the tint of its
  picture. --fold takes the even or the odd ones of these pictures only, in the order of their numbers, so that one half
  can judge what the other half has taught.

Both together are put into pictures of their own. The same arguments give the same pixels.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageFilter

LEAST_OBJECT = 3000  # Pixels; smaller marks are crumbs of something that is hidden.
HORIZON = 0.42  # As a share of the height: how far up things get small.


def by_number(path):
    """Order of stems with numbers: 2 before 10."""
    return len(path.stem), path.stem


def boxes(mask):
    """Boxes (top, bottom, left, right) of the 8-connected parts of `mask`, found on every fourth pixel."""
    small, found = mask[::4, ::4].copy(), []
    while small.any():
        start = np.unravel_index(small.argmax(), small.shape)
        stack, rows, columns = [start], [], []
        small[start] = False
        while stack:
            row, column = stack.pop()
            rows.append(row)
            columns.append(column)
            for r in range(max(0, row - 1), min(small.shape[0], row + 2)):
                for c in range(max(0, column - 1), min(small.shape[1], column + 2)):
                    if small[r, c]:
                        small[r, c] = False
                        stack.append((r, c))
        if 16 * len(rows) >= LEAST_OBJECT:
            found.append((4 * min(rows), 4 * max(rows) + 4, 4 * min(columns), 4 * max(columns) + 4))
    return found


def cut_out(folder, fold):
    """Objects of a labelled set: pairs of a picture and a mask of 0 and 255."""
    objects = []
    for number, path in enumerate(sorted((folder / "labels").iterdir(), key=by_number)):
        if fold != "all" and number % 2 != (fold == "odd"):
            continue
        mask = np.asarray(Image.open(path)) == 1
        image = Image.open(next((folder / "images").glob(path.stem + ".*"))).convert("RGB")
        grey = np.asarray(image.resize((64, 32)), np.float32).reshape(-1, 3).mean(0)
        pixels = np.asarray(image, np.float32) * (grey.mean() / grey)
        for top, bottom, left, right in boxes(mask):
            cut = pixels[top:bottom, left:right].clip(0, 255).astype(np.uint8)
            objects.append((Image.fromarray(cut), Image.fromarray(mask[top:bottom, left:right].astype(np.uint8) * 255)))
    return objects


def an_object(objects, height, rng):
    """One of `objects` at a height, mirrored or not, in other light."""
    cut, mask = objects[rng.integers(len(objects))]
    if rng.random() < 0.5:
        cut, mask = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (cut, mask))
    size = (max(8, height * cut.width // cut.height), height)
    pixels = np.asarray(cut.resize(size, Image.Resampling.LANCZOS), np.float32)
    pixels = pixels * rng.uniform(0.9, 1.7) * rng.uniform(0.9, 1.1, 3) + rng.uniform(-10, 10)
    return pixels, mask.resize(size, Image.Resampling.BILINEAR)


def a_scrap(pictures, height, rng):
    """A rounded outline of texture from one of `pictures`."""
    width = int(height * rng.uniform(0.6, 1.8))
    zoom, picture = rng.uniform(0.5, 4), Image.open(pictures[rng.integers(len(pictures))]).convert("RGB")
    picture = picture.resize((int(480 * zoom) + width, int(360 * zoom) + height))
    left, top = rng.integers(0, picture.width - width), rng.integers(0, picture.height - height)
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)), np.float32)
    pixels = pixels[:, :, rng.permutation(3)] * rng.uniform(0.5, 1.8, 3) + rng.uniform(-30, 60)
    pixels = pixels * (1 - 0.5 * rng.uniform(0, 1) * np.linspace(0, 1, height)[:, None, None])
    waves = rng.normal(size=(max(2, height // 24) + 2, max(2, width // 24) + 2)).astype(np.float32)
    waves = np.asarray(Image.fromarray(waves).resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = 0.5 * waves + 1.1 - 1.6 * np.hypot(x, y) > 0.3
    return pixels, Image.fromarray(inside.astype(np.uint8) * 255)


def paste(image, make, rng, sizes):
    """Up to three things whose feet stand on the lower part of `image`, the larger the nearer; their truth.

    `sizes`: their least and largest height as shares of what lies between horizon and foot.
    """
    width, height = image.size
    truth = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 4)):
        foot = rng.uniform(HORIZON + 0.1, 0.97)
        pixels, shape = make(max(12, int((foot - HORIZON) * rng.uniform(*sizes) * height)), rng)
        rows, columns = pixels.shape[:2]
        left, top = int(rng.uniform(0.06, 0.94) * width - columns / 2), int(foot * height - rows)
        soft = shape.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(1))
        image.paste(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), (left, top), soft)
        out_left, out_top = max(0, -left), max(0, -top)
        seen = truth[top + out_top : top + rows, left + out_left : left + columns]
        seen[(np.asarray(shape) > 127)[out_top : out_top + seen.shape[0], out_left : out_left + seen.shape[1]]] = 1
    edge = Image.fromarray(truth)
    truth[np.asarray(edge.filter(ImageFilter.MaxFilter(5))) != np.asarray(edge.filter(ImageFilter.MinFilter(5)))] = 255
    return truth


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, type=pathlib.Path, nargs="+", help="pictures, or folders of them")
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture")
    parser.add_argument("--size", help="scale pictures to WxH first (default: to a height of 960)")
    parser.add_argument("--scraps", action="store_true")
    parser.add_argument("--objects", type=pathlib.Path)
    parser.add_argument("--fold", default="all", choices=["all", "even", "odd"])
    parser.add_argument("--sizes", default="0.25,1", help="heights, as shares of what lies between horizon and foot (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    if not (args.scraps or args.objects):
        parser.error("nothing to paste: give --scraps, --objects or both")
    sizes = tuple(map(float, args.sizes.split(",")))
    if len(sizes) != 2 or not 0 < sizes[0] <= sizes[1]:
        parser.error(f"--sizes {args.sizes}: two numbers above 0, the smaller one first, such as 0.25,1")
    pictures = [p for given in args.images for p in (sorted(given.iterdir()) if given.is_dir() else [given])][:: args.every]
    kinds = []
    if args.scraps:
        kinds.append(("scraps", lambda height, rng: a_scrap(pictures, height, rng)))
    if args.objects:
        objects = cut_out(args.objects, args.fold)
        if not objects:
            parser.error(f"{args.objects} has no object of {LEAST_OBJECT} pixels")
        kinds.append(("objects", lambda height, rng: an_object(objects, height, rng)))
    for folder in ("images", "labels"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    for kind, make in kinds:
        rng = np.random.default_rng(args.seed)
        for path in pictures:
            image = Image.open(path).convert("RGB")
            size = tuple(map(int, args.size.split("x"))) if args.size else (960 * image.width // image.height, 960)
            image = image.resize(size, Image.Resampling.LANCZOS)
            Image.fromarray(paste(image, make, rng, sizes)).save(args.out / "labels" / f"{path.stem}_{kind}.png")
            image.save(args.out / "images" / f"{path.stem}_{kind}.png", compress_level=1)
    print(f"{len(pictures) * len(kinds)} pictures in {args.out}")


if __name__ == "__main__":
    main()
