#!/usr/bin/env python3
"""Trains farout's small demo model on the synthetic world, from scratch, on a CPU.

The model sees the normal world only (strangers=off). It learns to segment it, and as an auxiliary task
to keep the keys of clean patches together and those of misplaced scraps of normal pictures away from them
(synthetic_scraps.py). The frames come from farout itself:

    cargo build --release
    pip install -r tools/requirements.txt
    tools/train_synthetic.py --out models/synthetic-vit.onnx

Seeds 101-700 are for training and 701-704 for the reported mIoU. Kept apart from both: 2001-2120 for
reference features, 901-903 for decisions during development, 951-956 for the final test.
"""

import argparse
import collections
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from synthetic_scraps import STEPS_REMEMBERED, distances, scatter
from synthetic_vit import CLASSES, HEIGHT, MEAN, PATCH, STD, SUB, WIDTH, SegmentationViT, export

# Part of the data: seeds of the drives, frames of each, and world frames from one to the next.
# Many drives with few frames each: what the model has to know is how much roads, houses and cars differ.
PARTS = {"train": (range(101, 701), 5, 211), "heldout": (range(701, 705), 25, 83)}
VOID = 255
# Thin things have few pixels; without a say beyond those they would hardly be learned.
CLASS_WEIGHTS = {"marking": 1.5, "car": 1.5, "pole": 3.0, "fence": 2.0}


def write_frames(farout, folder):
    """Has farout write the frames and truth of every drive."""
    for part, (seeds, frames, stride) in PARTS.items():
        for seed in seeds:
            out = folder / part / str(seed)
            out.mkdir(parents=True)
            source = f"synthetic:seed={seed},strangers=off,frames={frames},stride={stride}"
            command = [farout, "replay", "--bypass", "--source", source, "--frames-out", out, "--truth", out]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
            print(f"\rframes: {part} {seed}", end="", flush=True)
    print()


def read_frames(folder):
    """All frames below `folder` at the model's size, uint8 [n, 3, HEIGHT, WIDTH], and the classes of the
    head's places, uint8 [n, HEIGHT / 4, WIDTH / 4]."""
    paths = [p for p in sorted((folder.resolve()).rglob("*.png")) if not p.stem.endswith(("_class", "_stranger"))]
    if not paths:
        sys.exit(f"no frames below {folder}")

    def one(path):
        picture = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float()
        small = F.interpolate(picture, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)[0].round().byte()
        truth = torch.from_numpy(np.array(Image.open(path.with_name(path.stem + "_class.png"))))
        rows, columns = HEIGHT // PATCH * SUB, WIDTH // PATCH * SUB
        row = ((torch.arange(rows) + 0.5) * truth.shape[0] / rows).long()
        column = ((torch.arange(columns) + 0.5) * truth.shape[1] / columns).long()
        return small, truth[row][:, column]

    with ThreadPoolExecutor(2) as pool:
        pictures, classes = zip(*pool.map(one, paths))
    return torch.stack(pictures), torch.stack(classes)


def normalised(pictures):
    return (pictures.float() / 255 - MEAN) / STD


def train(model, pictures, classes, args):
    """Trains in place: vertical half pictures for most of the time, whole ones at the end."""
    scraps = torch.Generator().manual_seed(args.seed + 1)
    width = model.norm.normalized_shape[0]
    class_weights = torch.tensor([CLASS_WEIGHTS.get(name, 1.0) for name in CLASSES])
    mark = nn.Linear(width, SUB * SUB)
    # Distance -> logit of "scrap": slope and the distance at which the odds are even.
    slope, even = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(5.0))
    weights = [*model.parameters(), *mark.parameters(), slope, even]
    optimiser = torch.optim.AdamW(weights, lr=args.rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, total_steps=args.steps, pct_start=0.1)
    model.stem.to(memory_format=torch.channels_last)
    model.train()
    memory = collections.deque(maxlen=STEPS_REMEMBERED)
    start, order, seen = time.time(), torch.randperm(len(pictures)), 0
    for step in range(args.steps):
        if seen + args.batch > len(pictures):
            order, seen = torch.randperm(len(pictures)), 0
        chosen = order[seen : seen + args.batch]
        seen += args.batch
        full, whole, column = normalised(pictures[chosen]), classes[chosen].long(), 0
        target, truth = full, whole
        if step < 0.85 * args.steps:
            column = int(torch.randint(0, WIDTH // PATCH // 2 + 1, ()))
            target = full[..., column * PATCH : column * PATCH + WIDTH // 2]
            truth = truth[..., column * SUB : column * SUB + WIDTH // PATCH * SUB // 2]
        else:
            full, whole = full[: args.batch // 2], whole[: args.batch // 2]
            target, truth = full, whole
        picture, mask, shown = scatter(full, whole, target, scraps)
        contrast = 1 + 0.15 * torch.randn(len(picture), 1, 1, 1)
        picture = picture * contrast + 0.04 * torch.randn(len(picture), 3, 1, 1)
        picture = picture + 0.02 * torch.rand(len(picture), 1, 1, 1) * torch.randn(1, *picture.shape[1:])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, keys = model(picture.contiguous(memory_format=torch.channels_last), column)
        keys = keys.float()

        shares = lambda mask, side: F.avg_pool2d(mask[:, None], side)[:, 0]
        places, showing = shares(mask, PATCH // SUB), shares(shown, PATCH // SUB)
        truth = truth.masked_fill(places > 0.05, VOID)
        segmentation = F.cross_entropy(logits.float(), truth, class_weights, ignore_index=VOID)
        marked = mark(keys).transpose(1, 2).reshape(len(keys), SUB * SUB, mask.shape[1] // PATCH, -1)
        marked = F.pixel_shuffle(marked, SUB)[:, 0]
        sure = ((places < 0.05) | (showing > 0.5 * places)).float()
        marking = F.binary_cross_entropy_with_logits(marked, showing, sure, pos_weight=torch.tensor(3.0))
        covered, showing = shares(mask, PATCH).flatten(1), shares(shown, PATCH).flatten(1)
        far, share, remember = distances(keys, covered, showing, torch.cat([keys[0, :0].detach(), *memory]), scraps)
        memory.append(remember)
        scraps_in = (share > 0).sum()
        balance = torch.where(share > 0, 0.4 * (len(share) - scraps_in) / scraps_in.clamp(min=1), 1.0)
        apart = F.binary_cross_entropy_with_logits((far - even) * slope, share, balance)

        optimiser.zero_grad()
        (segmentation + marking + apart).backward()
        nn.utils.clip_grad_norm_(weights, 2.0)
        optimiser.step()
        schedule.step()
        if step % 25 == 0 or step + 1 == args.steps:
            spent = time.time() - start
            print(f"step {step:5}/{args.steps}  segmentation {segmentation:.3f}  marking {marking:.3f}  "
                  f"apart {apart:.3f}  {spent:5.0f} s, {spent / (step + 1) * (args.steps - step - 1):5.0f} s left",
                  flush=True)


def held_out_iou(model, pictures, classes):
    """Intersection over union of each class."""
    model.eval()
    count = len(CLASSES)
    table = torch.zeros(count, count)
    with torch.inference_mode():
        for batch, truth in zip(pictures.split(4), classes.split(4)):
            guess = model(normalised(batch))[0].argmax(1)
            table += torch.bincount((truth.long() * count + guess).ravel(), minlength=count**2).view(count, count)
    return table.diag() / (table.sum(0) + table.sum(1) - table.diag())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farout", default="target/release/farout", help="the farout binary")
    parser.add_argument("--frames", type=Path, help="folder with train/ and heldout/ instead of asking farout")
    parser.add_argument("--out", default="models/synthetic-vit.onnx")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    start = time.time()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.frames
        if folder is None:
            folder = Path(temporary)
            write_frames(args.farout, folder)
        pictures, classes = read_frames(folder / "train")
        held_out = read_frames(folder / "heldout")
    model = SegmentationViT()
    print(f"{len(pictures)} frames, {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(model, pictures, classes, args)
    iou = held_out_iou(model, *held_out)
    for name, value in zip(CLASSES, iou):
        print(f"{name:10} IoU {value:.3f}")
    print(f"held-out mIoU {iou.mean():.4f}")
    # What farout reads, so that no [model] section is needed.
    section = f'features = "keys"\nlogits = "logits"\nmean = {[MEAN] * 3}\nstd = {[STD] * 3}\n'
    metadata = {
        "farout.model": section,
        "classes": json.dumps(CLASSES),
        "mean": json.dumps([MEAN] * 3),
        "std": json.dumps([STD] * 3),
        "held_out_miou": f"{iou.mean():.4f}",
        "training": f"seed {args.seed}, {args.steps} steps of {args.batch}, rate {args.rate}",
        "license": "MIT OR Apache-2.0",
    }
    export(model, args.out, metadata)
    data = Path(args.out).read_bytes()
    print(f"{args.out}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}, {time.time() - start:.0f} s in all")


if __name__ == "__main__":
    main()
