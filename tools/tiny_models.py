#!/usr/bin/env python3
"""Tiny random-weight models of many architectures, as both ONNX exporters of PyTorch write them, with what
hooks in PyTorch see inside: what `farout model inspect` and `prepare` are tested on.

    tools/tiny_models.py --out tests/models

Writes NAME.ts.onnx (the TorchScript-based exporter), NAME.dy.onnx (the dynamo-based one) and NAME.json: the input
size, and for each selector the grid, the width and some numbers of the expected `[h, w, C]` array. The input is the
formula in `picture`. Some are also written in other number formats: NAME.fp16.onnx and so on, see tiny_variants.py.
Same versions, same bytes: seeds are fixed.
"""

import argparse
import hashlib
import json
import pathlib
import warnings

import onnx
import torch

from tiny_architectures import MODELS, stir
from tiny_files import LARGEST, export, shrink
from tiny_truth import Seen, fed, logits_of, sampled

# Exports of these for any size are for the size of the example all the same: the table of positions is fixed in them.
BROKEN = [("timm-dinov2-any", "ts"), ("hf-dinov2-any", "dy")]


# Exports of the TorchScript-based exporter that are also made in other number formats: NAME.KIND.onnx.
VARIANTS = {
    "timm-vit": ["fp16", "bf16", "qdq", "qoperator", "dynamic", "fused"],
    "segmenter": ["fp16", "fused16"],
    "timm-dinov3": ["fp16", "qdq"],
    "hf-dinov2-any": ["faster"],
    "hf-dinov2-reg": ["faster"],
    "hf-vit": ["faster"],
}


def make(name, out):
    maker, size, run, arguments = MODELS[name]
    seen = Seen()
    seed = sum(map(ord, name))
    torch.manual_seed(seed)
    model = stir(maker(seen, size, **arguments), seed)
    with torch.no_grad():
        outputs = model(fed(model, *run))
    features = {selector: sampled(array) for selector, array in seen.found.items()}
    logits = logits_of(outputs)
    told = {"size": [run[1], run[0]], "features": features, "logits": None if logits is None else sampled(logits)}
    if getattr(model, "kind", None) == "bytes":
        told["bytes"] = True
    (out / f"{name}.json").write_text(json.dumps(told) + "\n")
    for kind, dynamo in [("ts", False), ("dy", True)]:
        if (name, kind) in BROKEN:
            continue
        path = out / f"{name}.{kind}.onnx"
        try:
            export(model, size, size != run, path, dynamo)
        except Exception as why:  # noqa: BLE001 - an exporter that fails on one model must not hide the others
            print(f"{name}.{kind}: not exported: {type(why).__name__}: {str(why).splitlines()[0][:200]}")
            continue
        shrink(path)
        size_now = path.stat().st_size
        print(f"{name}.{kind}: {size_now} bytes{' TOO LARGE' if size_now > LARGEST else ''}, {len(features)} features")


def variants(out):
    """Exports in other number formats; the truth is that of the floats."""
    from tiny_variants import VARIANTS as KINDS

    for name, kinds in VARIANTS.items():
        for kind in kinds:
            path = out / f"{name}.{kind}.onnx"
            onnx.save(KINDS[kind](onnx.load(out / f"{name}.ts.onnx"), MODELS[name][1]), path)
            shrink(path)
            print(f"{path.name}: {path.stat().st_size} bytes")


def heads(out):
    """A head of each kind for the normed tokens of timm-vit.ts.onnx (16 wide), as if it had been trained on them."""
    import segmentation_heads

    origin = hashlib.sha256((out / "timm-vit.ts.onnx").read_bytes()).hexdigest()
    for kind, more in [("linear", {}), ("mask-transformer", {"inner": 8, "layers": 2, "heads": 2})]:
        torch.manual_seed(7)
        head = stir(segmentation_heads.make(kind, 16, 5, **more), 7)
        path = out / f"timm-vit.{kind}.safetensors"
        segmentation_heads.save(head, path, torch.zeros(16), torch.ones(16), {
            "classes": ["road", "car", "sky", "tree", "pole"],
            "features": ["norm"],
            "model_sha256": "0" * 64,
            "origin_sha256": origin,
            "held_out_miou": "0.1234",
        })  # fmt: skip
        print(f"{path.name}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    arguments.out.mkdir(parents=True, exist_ok=True)
    extras = {"variants": variants, "heads": heads}
    for name in arguments.names or [*MODELS, *extras]:
        extras[name](arguments.out) if name in extras else make(name, arguments.out)


if __name__ == "__main__":
    main()
