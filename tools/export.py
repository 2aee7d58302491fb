#!/usr/bin/env python3
"""Exports public segmentation models to ONNX, with their preprocessing and classes in the file's metadata, for
`farout model inspect` and `farout model prepare`.

    tools/export.py --list
    tools/export.py segformer-b2 -o segformer-b2.onnx --size 1024x512
    farout model prepare segformer-b2.onnx -o prepared.onnx --features key:14

Weights come from the Hugging Face hub (network access), or from a checkpoint of the model's authors named with --weights.
`--random-weights` takes none: the graph is the real one, its numbers mean nothing. `--tiny` also shrinks the model.
"""

import argparse
import json
import os
import pathlib
import warnings

import torch

from public_models import IMAGENET, MODELS

OPSET = 17


def write(model, path, size, metadata, classes, preprocessing=IMAGENET):
    """Exports `model` for images `[1, 3, height, width]` of `size` (width, height), all that farout reads beside it.

    preprocessing: `mean` and `std` per channel after scaling to 0..1, `channels` "rgb" or "bgr".
    """
    import onnx

    width, height = size
    model = model.eval().float().cpu()
    part = pathlib.Path(f"{path}.part")
    outputs = getattr(model, "outputs", ["logits"])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, height, width),), str(part), input_names=["image"],
                          output_names=outputs, opset_version=OPSET, dynamo=False)  # fmt: skip
    exported = onnx.load(part)
    single_precision(exported.graph)
    told = {key: preprocessing[key] for key in ("mean", "std")} | {"channels": preprocessing.get("channels", "rgb")}
    section = "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())
    for key, value in ({"farout.model": section, "classes": json.dumps(classes)} | metadata).items():
        entry = exported.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(exported, part)
    os.replace(part, path)


def single_precision(graph):
    """Makes float32 of float64 constants, which the exporter writes for Python's numbers and no kernel takes."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    def converted(tensor):
        if tensor.data_type == TensorProto.DOUBLE:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))

    for tensor in graph.initializer:
        converted(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            converted(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT


def parsed(text):
    width, _, height = text.partition("x")
    return int(width), int(height)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=MODELS, metavar="NAME", help="which; --list tells")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="the file to write (default: NAME.onnx)")
    parser.add_argument("--size", type=parsed, metavar="WxH", help="input size (default: the entry's own)")
    parser.add_argument("--weights", type=pathlib.Path, help="a checkpoint of the model's authors (.pth), where --list says so")
    parser.add_argument("--classes", help="names by comma, for checkpoints with other classes than the entry's")
    parser.add_argument("--random-weights", action="store_true", help="no weights: the architecture alone")
    parser.add_argument("--tiny", action="store_true", help="with --random-weights: narrow and shallow, 64 pixels high")
    parser.add_argument("--list", action="store_true", help="tell what there is")
    args = parser.parse_args()
    if args.list or not args.name:
        for name, entry in MODELS.items():
            print(f"{name:28} {entry.about}\n{'':28} weights: {entry.source}")
        return
    entry = MODELS[args.name]
    if args.tiny and not args.random_weights:
        parser.error("--tiny goes with --random-weights")
    classes = args.classes.split(",") if args.classes else entry.classes
    size = args.size or (entry.tiny_size if args.tiny else entry.size)
    if any(side % entry.multiple for side in size):
        parser.error(f"{args.name} takes sides that are multiples of {entry.multiple}")
    torch.manual_seed(0)
    weights = None if args.random_weights else args.weights or entry.weights
    if weights is None and not args.random_weights:
        parser.error(f"{args.name} needs --weights: {entry.source}")
    model = entry.make(size=size, classes=classes, weights=weights, tiny=args.tiny)
    path = args.output or pathlib.Path(f"{args.name}.onnx")
    metadata = {"model": args.name, "weights": str(weights or "random")}
    write(model, path, size, metadata, classes, entry.preprocessing)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, input {size[0]}x{size[1]}, {len(classes)} classes, weights {weights or 'random'}")


if __name__ == "__main__":
    main()
