#!/usr/bin/env python3
"""Trains a segmentation head on the frozen features of a prepared model, from images and label masks.

    farout model prepare vit.onnx -o vit-norm.onnx --features norm
    tools/train_head.py vit-norm.onnx --train camvid/train camvid/val --test camvid/test \\
        --classes sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist --void 11 -o head.safetensors
    farout model prepare vit.onnx -o vit-seg.onnx --features key:12 --head head.safetensors

The features may be any that `farout model prepare` gives, `--concat` included; the head remembers which. They are computed
once by ONNX Runtime and kept in a cache folder. A data set is a folder with images/ and labels/, or IMAGES:LABELS; files
are paired by stem. The report is the mean intersection over union on the test part, logits enlarged bilinearly to the
labels' own size, void left out.

With --finetune (`all`, or the number of last blocks) the backbone is a timm model that PyTorch trains along; it
wants a GPU. The result is then a whole ONNX file, for `farout model prepare` like any other.
"""

import argparse
import json
import math
import os
import pathlib
import time

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

import segmentation_heads
from export import parsed, write
from road_labels import VOID, Cached, Feed, Prepared, classes_of, label_table, majority, pairs


def class_weights(counts, rule):
    """Weights of the classes' losses by how often they occur, mean 1 over what occurs."""
    share = counts / counts.sum()
    present = share > 0
    weights = np.zeros(len(counts))
    power = {"none": 0.0, "sqrt": 0.5, "median": 1.0}[rule]
    weights[present] = (np.median(share[present]) / share[present]) ** power
    return torch.tensor(np.minimum(weights / weights[present].mean(), 10.0), dtype=torch.float32)


class Scores:
    """A confusion table, and what follows from it."""

    def __init__(self, count):
        self.count, self.table = count, np.zeros((count, count), np.int64)

    def add(self, truth, guess):
        counted = truth != VOID
        pairs = truth[counted].astype(np.int64) * self.count + guess[counted]
        self.table += np.bincount(pairs, minlength=self.count**2).reshape(self.count, self.count)

    def iou(self):
        """Intersection over union per class; NaN where a class is neither there nor guessed."""
        union = self.table.sum(0) + self.table.sum(1) - self.table.diagonal()
        return np.where(union > 0, self.table.diagonal() / np.maximum(union, 1), np.nan)

    def report(self, classes):
        for name, value in zip(classes, self.iou()):
            print(f"  {name:20} IoU {100 * value:5.1f} %")
        accuracy = self.table.diagonal().sum() / max(self.table.sum(), 1)
        print(f"held-out mIoU {100 * np.nanmean(self.iou()):.2f} %, pixels right {100 * accuracy:.2f} %")


class Samples:
    """Cells and labels of one part of the data."""

    def __init__(self, location, table, count, scale, features):
        self.pairs = [pair for one in location for pair in pairs(one)]
        self.table, self.count, self.scale, self.features = table, count, scale, features

    def prepare(self, what):
        """Fills the cache, telling how far it is."""
        start = time.time()
        for n, (image, _) in enumerate(self.pairs, 1):
            self.features(image)
            if n % 10 == 0 or n == len(self.pairs):
                print(f"\rfeatures of {what}: {n}/{len(self.pairs)}, {time.time() - start:.0f} s", end="", flush=True)
        print()

    def cells(self, n):
        return torch.from_numpy(self.features(self.pairs[n][0]).astype(np.float32))

    def labels(self, n):
        return classes_of(self.pairs[n][1], self.table)

    def targets(self, n, rows, cols):
        return torch.from_numpy(majority(self.labels(n), rows * self.scale, cols * self.scale, self.count)).long()


def statistics(samples):
    """Mean and deviation of each channel, and how many cells each class has."""
    total, squares, cells, counts = 0.0, 0.0, 0, np.zeros(samples.count)
    for n in range(len(samples.pairs)):
        one = samples.cells(n).double()
        total, squares, cells = total + one.sum((0, 1)), squares + (one**2).sum((0, 1)), cells + one[..., 0].numel()
        kinds = samples.targets(n, *one.shape[:2]).ravel().numpy()
        counts += np.bincount(kinds[kinds != VOID], minlength=samples.count)
    mean = total / cells
    std = (squares / cells - mean**2).clamp(min=0).sqrt()
    return mean.float(), std.clamp(min=1e-3 * float(std.mean())).float(), counts


def loss_of(logits, target, weights):
    """Cross-entropy of logits `[b, K, h, w]` enlarged to the size of the targets `[b, rows, cols]`."""
    if logits.shape[-2:] != target.shape[-2:]:
        logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, target, weights, ignore_index=VOID)


def rate_at(step, steps):
    """Part of the full learning rate: a short rise, then half a cosine."""
    rise = max(steps // 20, 1)
    return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))


def batches(samples, batch, order):
    """For ever: numbers of images whose features have one grid, each image once per epoch."""
    grids = {}
    for n in range(len(samples.pairs)):
        grids.setdefault(samples.features(samples.pairs[n][0]).shape[:2], []).append(n)
    while True:
        epoch = []
        for members in grids.values():
            shuffled = order.permutation(members)
            epoch += [shuffled[at : at + batch] for at in range(0, len(shuffled), batch)]
        for at in order.permutation(len(epoch)):
            yield epoch[at]


def train(head, samples, mean, std, weights, args):
    torch.manual_seed(args.seed)
    order = np.random.default_rng(args.seed)
    optimiser = torch.optim.AdamW(head.parameters(), lr=args.rate, weight_decay=args.decay)
    steps = max(args.epochs * len(samples.pairs) // args.batch, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(step, steps))
    targets, start = {}, time.time()
    head.train()
    for step, chosen in zip(range(steps), batches(samples, args.batch, order)):
        cells = (torch.stack([samples.cells(n) for n in chosen]) - mean) / std
        for n in chosen:
            if n not in targets:
                targets[n] = samples.targets(n, *cells.shape[1:3]).byte()
        target = torch.stack([targets[n] for n in chosen]).long()
        loss = loss_of(head(cells), target, weights)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step + 1 == steps:
            spent = time.time() - start
            print(f"step {step:5}/{steps}  loss {loss.item():.3f}  {spent:.0f} s, {spent / (step + 1) * (steps - step - 1):.0f} s left",
                  flush=True)  # fmt: skip


@torch.inference_mode()
def judge(head, samples):
    head.eval()
    scores = Scores(samples.count)
    for n in range(len(samples.pairs)):
        labels = samples.labels(n)
        logits = F.interpolate(head(samples.cells(n)[None]), labels.shape, mode="bilinear", align_corners=False)
        scores.add(labels, logits[0].argmax(0).numpy())
    return scores


def frozen(args, classes, table):
    """A head on frozen features; writes `args.output`."""
    model = Prepared(args.model, args.threads)
    features = Cached(model, args.cache)
    parts = [Samples(part, table, len(classes), args.label_scale, features) for part in (args.train, args.test)]
    for samples, what in zip(parts, ("the training part", "the test part")):
        samples.prepare(what)
    training, test = parts
    mean, std, counts = statistics(training)
    print(f"{len(training.pairs)} images to train on, {len(test.pairs)} to test on; features "
          f"{' + '.join(model.selectors) or model.output}, {len(mean)} wide, patch {model.feed.patch}", flush=True)  # fmt: skip
    more = {} if args.kind == "linear" else {"inner": args.inner, "layers": args.layers, "heads": args.heads}
    torch.manual_seed(args.seed)
    head = segmentation_heads.make(args.kind, len(mean), len(classes), **more)
    train(head, training, mean, std, class_weights(counts, args.class_weights), args)
    segmentation_heads.absorb(head, mean, std)
    scores = judge(head, test)
    scores.report(classes)
    segmentation_heads.save(head, args.output, mean, std, {
        "classes": classes,
        "features": model.selectors,
        "model_sha256": model.sha256,
        "origin_sha256": model.origin_sha256,
        "held_out_miou": f"{np.nanmean(scores.iou()):.4f}",
        "held_out_images": str(len(test.pairs)),
        "training": f"{len(training.pairs)} images, {args.epochs} epochs of batches of {args.batch}, rate {args.rate}, "
        f"class weights {args.class_weights}, label scale {args.label_scale}, seed {args.seed}",
    })  # fmt: skip
    print(f"{args.output}: {args.kind}; attach it: farout model prepare {args.model} -o OUT --features features "
          f"--head {args.output}")  # fmt: skip


class Pictures:
    """Inputs and labels of one part of the data, for a backbone that is trained along."""

    def __init__(self, location, table, count, scale, feed):
        self.pairs = [pair for one in location for pair in pairs(one)]
        self.table, self.count, self.scale, self.feed = table, count, scale, feed

    def labels(self, n):
        return classes_of(self.pairs[n][1], self.table)

    def example(self, n):
        """The input, and targets of its whole grid; what the picture does not cover is void."""
        image = Image.open(self.pairs[n][0])
        rows, cols = (cells * self.scale for cells in self.feed.grid(image))
        whole = np.full([side // self.feed.patch * self.scale for side in (self.feed.height, self.feed.width)], VOID, np.uint8)
        whole[:rows, :cols] = majority(self.labels(n), rows, cols, self.count)
        return torch.from_numpy(self.feed(image)), torch.from_numpy(whole).long()


def released(backbone, which):
    """Parameters of the backbone that are trained: of the last blocks and the final norm, or all."""
    for parameter in backbone.parameters():
        parameter.requires_grad = which == "all"
    if which != "all":
        blocks = backbone.vit.blocks
        for module in [*blocks[max(len(blocks) - int(which), 0) :], backbone.vit.norm]:
            for parameter in module.parameters():
                parameter.requires_grad = True
    return [parameter for parameter in backbone.parameters() if parameter.requires_grad]


def finetuned(args, classes, table):
    """A timm backbone and a head, trained together; writes a whole ONNX file."""
    from public_models import Backbone, Headed

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    backbone = Backbone(str(args.model), args.size, not args.random_weights, **(args.timm or {}))
    normalisation = {key: list(backbone.vit.default_cfg[key]) for key in ("mean", "std")}
    feed = Feed(*args.size, backbone.patch, **normalisation)
    training, test = (Pictures(part, table, len(classes), args.label_scale, feed) for part in (args.train, args.test))
    more = {} if args.kind == "linear" else {"inner": args.inner, "layers": args.layers, "heads": args.heads}
    head = segmentation_heads.make(args.kind, backbone.width, len(classes), **more)
    model = Headed(backbone, head).to(device)
    groups = [{"params": list(head.parameters()), "lr": args.rate},
              {"params": released(backbone, args.finetune), "lr": args.backbone_rate}]  # fmt: skip
    optimiser = torch.optim.AdamW(groups, weight_decay=args.decay)
    steps = args.steps or max(args.epochs * len(training.pairs) // args.batch, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(step, steps))
    counts = np.zeros(len(classes))
    for n in range(len(training.pairs)):
        kinds = training.labels(n)
        counts += np.bincount(kinds[kinds != VOID], minlength=len(classes))
    weights = class_weights(counts, args.class_weights).to(device)
    trained = sum(parameter.numel() for group in groups for parameter in group["params"])
    print(f"{len(training.pairs)} images to train on, {trained} parameters, {steps} steps on {device}", flush=True)
    order, queue, start = np.random.default_rng(args.seed), [], time.time()
    model.train()
    for step in range(steps):
        while len(queue) < args.batch:
            queue += list(order.permutation(len(training.pairs)))
        images, targets = zip(*(training.example(queue.pop()) for _ in range(args.batch)))
        images, targets = torch.stack(images).to(device), torch.stack(targets).to(device)
        if order.random() < 0.5:
            images, targets = images.flip(3), targets.flip(2)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = model(images)
        loss = loss_of(logits.float(), targets, weights)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 0 or step + 1 == steps:
            print(f"step {step:5}/{steps}  loss {loss.item():.3f}  {time.time() - start:.0f} s", flush=True)
    scores = judge_pictures(model, test, device)
    scores.report(classes)
    training_told = f"{args.model}, {args.finetune} blocks trained, {steps} steps of {args.batch}, seed {args.seed}"
    metadata = {"held_out_miou": f"{np.nanmean(scores.iou()):.4f}", "training": training_told}
    write(model, args.output, args.size, metadata, classes, normalisation)
    print(f"{args.output}: farout model prepare {args.output} -o OUT --features key:{len(backbone.vit.blocks)}")


@torch.inference_mode()
def judge_pictures(model, samples, device):
    model.eval()
    scores = Scores(samples.count)
    for n in range(len(samples.pairs)):
        image, labels = Image.open(samples.pairs[n][0]), samples.labels(n)
        rows, cols = samples.feed.grid(image)
        logits = model(torch.from_numpy(samples.feed(image))[None].to(device)).float()[:, :, :rows, :cols]
        logits = F.interpolate(logits, labels.shape, mode="bilinear", align_corners=False)
        scores.add(labels, logits[0].argmax(0).cpu().numpy())
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="a file of farout model prepare; with --finetune a timm name")
    parser.add_argument("--train", nargs="+", required=True, metavar="DATA")
    parser.add_argument("--test", nargs="+", required=True, metavar="DATA")
    parser.add_argument("--classes", required=True, help="names in the order of the label values, by comma")
    parser.add_argument("--void", type=int, nargs="*", default=[255], help="label values that are no class (default: 255)")
    parser.add_argument("--remap", type=json.loads, help='JSON from label values to class numbers, e.g. {"7": 0, "8": 1}')
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--kind", choices=["linear", "mask-transformer"], default="linear")
    parser.add_argument("--inner", type=int, default=192, help="width of the mask transformer (default: 192)")
    parser.add_argument("--layers", type=int, default=2, help="its blocks (default: 2)")
    parser.add_argument("--heads", type=int, default=3, help="its attention heads (default: 3)")
    parser.add_argument("--label-scale", type=int, default=4,
                        help="the loss is taken on logits enlarged so many times; 1: on the features' grid (default: 4)")  # fmt: skip
    parser.add_argument("--class-weights", choices=["none", "sqrt", "median"], default="sqrt")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=1e-2)
    parser.add_argument("--finetune", metavar="all|N", help="train all blocks of the backbone, too, or the last N")
    parser.add_argument("--size", type=parsed, default=(644, 364), metavar="WxH", help="with --finetune: input size")
    parser.add_argument("--backbone-rate", type=float, default=2e-5, help="learning rate of the backbone's blocks")
    parser.add_argument("--random-weights", action="store_true", help="with --finetune: from scratch")
    parser.add_argument("--timm", type=json.loads, metavar="JSON", help='more arguments of timm, e.g. {"depth": 4}')
    parser.add_argument("--steps", type=int, help="with --finetune: instead of --epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("~/.cache/farout/features").expanduser())
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    classes = [name.strip() for name in args.classes.split(",")]
    remap = {int(value): number for value, number in args.remap.items()} if args.remap else None
    if args.finetune and args.finetune != "all" and not args.finetune.isdigit():
        parser.error("--finetune takes all or the number of last blocks")
    run = finetuned if args.finetune else frozen
    run(args, classes, label_table(len(classes), args.void, remap))


if __name__ == "__main__":
    main()
