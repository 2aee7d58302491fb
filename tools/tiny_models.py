#!/usr/bin/env python3
"""Tiny random-weight models of many architectures, as both ONNX exporters of PyTorch write them, with what
hooks in PyTorch see inside: what `farout model inspect` and `prepare` are tested on.

    tools/tiny_models.py --out tests/models

Writes NAME.ts.onnx (the TorchScript-based exporter), NAME.dy.onnx (the dynamo-based one) and NAME.json: the input
size, and for each selector the grid, the width and some numbers of the expected `[h, w, C]` array. The input is the
formula in `picture`. Same versions, same bytes: seeds are fixed.
"""

import argparse
import hashlib
import json
import math
import pathlib
import warnings

import numpy as np
import torch
from torch import nn

LARGEST = 100_000
SAMPLES = 48


def picture(height, width):
    """The input of every test: [1, 3, height, width], sin(0.7 c + 0.13 (c + 1) y + 0.17 x + 0.01 x y)."""
    c, y, x = np.meshgrid(np.arange(3.0), np.arange(height), np.arange(width), indexing="ij")
    return torch.from_numpy(np.sin(0.7 * c + 0.13 * (c + 1) * y + 0.17 * x + 0.01 * x * y).astype(np.float32))[None]


class Seen:
    """What hooks saw: selector to array [h, w, C]."""

    def __init__(self):
        self.found = {}

    def tokens(self, selector, module, grid, skip=0, part=None, channels_first=False):
        """The output of `module`: tokens [1, skip + h*w, C] or a map; `part` (i, n) takes the i-th of n channel blocks."""

        def hook(_module, _inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            data = output.detach()
            if channels_first:
                data = data[0].permute(1, 2, 0)
            elif data.dim() == 4:
                data = data[0]
            else:
                data = data[0, skip : skip + grid[0] * grid[1]].reshape(*grid, -1)
            if part:
                data = data.chunk(part[1], dim=-1)[part[0]]
            self.found[selector] = data.numpy().copy()

        module.register_forward_hook(hook)

    def qkv(self, number, module, grid, skip=0):
        """Queries, keys and values of a fused projection."""
        for i, role in enumerate(["query", "key", "value"]):
            self.tokens(f"{role}:{number}", module, grid, skip, (i, 3))


class Wrapped(nn.Module):
    """A model whose result is made plain tensors."""

    def __init__(self, model, pick):
        super().__init__()
        self.model, self.pick = model, pick

    def forward(self, image):
        return self.pick(self.model(image))


class Features(nn.Module):
    """A timm model without its head."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model.forward_features(image)


def stir(model, seed):
    """Random weights that make every part matter: gains near 1, offsets and layer scales not 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        spread = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if name.endswith(("gamma", "lambda1")) or (parameter.dim() == 1 and name.endswith("weight")):
                parameter.copy_(1 + 0.2 * spread)
            elif parameter.dim() <= 1:
                parameter.copy_(0.2 * spread)
            else:
                fan = parameter.numel() / parameter.shape[0] if parameter.dim() > 1 else 1
                parameter.copy_(spread * min(0.5, 1.2 / math.sqrt(max(fan, 1))))
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(1 + 0.3 * torch.rand(buffer.shape, generator=generator))
    return model.eval()


def timm_vit(seen, size, fused=True, **more):
    import timm

    patch = more.pop("patch_size", 8)
    skip = more.pop("skip", 1)
    name = more.pop("name", "vit_tiny_patch16_224")
    settings = dict(img_size=size, patch_size=patch, embed_dim=16, depth=2, num_heads=2, num_classes=0) | more
    run = more.pop("run", size)
    settings.pop("run", None)
    model = timm.create_model(name, **settings)
    for block in model.blocks:
        block.attn.fused_attn = fused
    grid = (run[0] // patch, run[1] // patch)
    for n, block in enumerate(model.blocks, 1):
        seen.qkv(n, block.attn.qkv, grid, skip)
        seen.tokens(f"tokens:{n}", block, grid, skip)
    seen.tokens("norm", model.norm, grid, skip)
    return Features(model)


def hf_vit(seen, size):
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                       image_size=size, patch_size=8)  # fmt: skip
    model = ViTModel(config, add_pooling_layer=False)
    hf_hooks(seen, model, (size[0] // 8, size[1] // 8), 1)
    return Wrapped(model, lambda out: out.last_hidden_state)


def hf_hooks(seen, model, grid, skip):
    """Blocks of Hugging Face's ViT and DINOv2, wherever a version keeps them."""
    layers = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == 2)
    for n, layer in enumerate(layers, 1):
        for role in ["query", "key", "value"]:
            names = (role, f"{role[0]}_proj")
            found = [m for name, m in layer.named_modules() if name.rsplit(".", 1)[-1] in names]
            seen.tokens(f"{role}:{n}", found[0], grid, skip)
        seen.tokens(f"tokens:{n}", layer, grid, skip)
    seen.tokens("norm", model.layernorm, grid, skip)


def hf_dinov2(seen, size, registers=0, run=None, fixed=False):
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    run = run or size
    settings = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=size[0],
                    patch_size=14)  # fmt: skip
    if registers:
        model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(num_register_tokens=registers, **settings))
        fixed = True
    else:
        model = Dinov2Model(Dinov2Config(**settings))
    if fixed:
        # The TorchScript-based exporter knows no antialiased interpolation; at the size of the table none is needed.
        embeddings = model.embeddings
        embeddings.interpolate_pos_encoding = lambda *_arguments: embeddings.position_embeddings
    hf_hooks(seen, model, (run[0] // 14, run[1] // 14), 1 + registers)
    return Wrapped(model, lambda out: out.last_hidden_state)


def segformer(seen, size):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 2, 2, 4],
                             sr_ratios=[4, 2, 2, 1], mlp_ratios=[2, 2, 2, 2], decoder_hidden_size=16, num_labels=5)  # fmt: skip
    model = SegformerForSemanticSegmentation(config)
    layers = [m for m in model.modules() if type(m).__name__ == "SegformerLayer"]
    norms = [m for name, m in model.named_modules() if name.count(".") == 3 and name.endswith("layer_norm")]
    for n, layer in enumerate(layers, 1):
        side, ratio = 2 ** (n + 1), [4, 2, 2, 1][n - 1]
        grid = (size[0] // side, size[1] // side)
        projections = {name.rsplit(".", 1)[-1]: m for name, m in layer.named_modules()}
        seen.tokens(f"query:{n}", projections["q_proj"], grid)
        for role in ["key", "value"]:
            seen.tokens(f"{role}:{n}", projections[f"{role[0]}_proj"], (grid[0] // ratio, grid[1] // ratio))
        seen.tokens(f"tokens:{n}", layer, grid)
        seen.tokens(f"norm:{n}", norms[n - 1], grid)
    return Wrapped(model, lambda out: out.logits)


class Segmenter(nn.Module):
    """ViT and mask transformer: class embeddings join the patches, masks are similarities to them."""

    def __init__(self, vit, width, classes, grid, heads=2):
        super().__init__()
        from timm.models.vision_transformer import Block

        self.vit, self.classes, self.grid = vit, classes, grid
        self.proj_dec = nn.Linear(width, width)
        self.cls_emb = nn.Parameter(torch.zeros(1, classes, width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio=2, qkv_bias=True) for _ in range(1))
        self.decoder_norm = nn.LayerNorm(width)
        self.proj_patch = nn.Parameter(torch.zeros(width, width))
        self.proj_classes = nn.Parameter(torch.zeros(width, width))
        self.mask_norm = nn.LayerNorm(classes)

    def forward(self, image):
        x = self.vit(image)[:, 1:]
        x = self.proj_dec(x)
        x = torch.cat((x, self.cls_emb.expand(x.size(0), -1, -1)), 1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_norm(x)
        patches, classes = x[:, : -self.classes] @ self.proj_patch, x[:, -self.classes :] @ self.proj_classes
        patches = patches / patches.norm(dim=-1, keepdim=True)
        classes = classes / classes.norm(dim=-1, keepdim=True)
        masks = self.mask_norm(patches @ classes.transpose(1, 2))
        return masks.transpose(1, 2).reshape(1, self.classes, *self.grid)


def segmenter(seen, size):
    grid = (size[0] // 8, size[1] // 8)
    model = Segmenter(timm_vit(seen, size, mlp_ratio=2), 16, 5, grid)
    seen.qkv(3, model.blocks[0].attn.qkv, grid)
    return model


class Setr(nn.Module):
    """ViT and a convolutional decoder that enlarges step by step."""

    def __init__(self, vit, width, classes, grid):
        super().__init__()
        self.vit, self.grid, self.width = vit, grid, width
        self.convs = nn.ModuleList([nn.Conv2d(width, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(12), nn.BatchNorm2d(12)])
        self.head = nn.Conv2d(12, classes, 1)

    def forward(self, image):
        x = self.vit(image)[:, 1:].transpose(1, 2).reshape(1, self.width, *self.grid)
        for conv, norm in zip(self.convs, self.norms):
            x = nn.functional.interpolate(norm(conv(x)).relu(), scale_factor=2, mode="bilinear")
        return nn.functional.interpolate(self.head(x), scale_factor=2, mode="bilinear")


def setr(seen, size):
    return Setr(timm_vit(seen, size, mlp_ratio=2), 16, 5, (size[0] // 8, size[1] // 8))


def swin(seen, size):
    import timm

    model = timm.create_model("swin_tiny_patch4_window7_224", img_size=size, window_size=4, embed_dim=8,
                              depths=(2, 1), num_heads=(2, 2), mlp_ratio=2, num_classes=0, always_partition=True)  # fmt: skip
    n = 0
    for stage, layer in enumerate(model.layers):
        grid = (size[0] // (4 << stage), size[1] // (4 << stage))
        for block in layer.blocks:
            n += 1
            seen.tokens(f"tokens:{n}", block, grid)
            block.attn.qkv.register_forward_hook(windows_undone(seen, n, block, grid))
    seen.tokens("norm", model.norm, grid)
    return Features(model)


def windows_undone(seen, number, block, grid):
    """The fused projection of windows, put back to where the windows came from."""

    def hook(_module, _inputs, output):
        side = block.window_size[0]
        data = output.detach().reshape(grid[0] // side, grid[1] // side, side, side, -1)
        data = data.permute(0, 2, 1, 3, 4).reshape(*grid, -1)
        data = torch.roll(data, shifts=tuple(block.shift_size), dims=(0, 1))
        for i, role in enumerate(["query", "key", "value"]):
            seen.found[f"{role}:{number}"] = data.chunk(3, dim=-1)[i].numpy().copy()

    return hook


class Queries(nn.Module):
    """A mask classifier: queries look at the patches, each gives a class and a mask."""

    def __init__(self, vit, width, classes, queries, grid):
        super().__init__()
        self.vit, self.grid, self.width = vit, grid, width
        self.query = nn.Parameter(torch.zeros(1, queries, width))
        self.cross = nn.MultiheadAttention(width, 2, batch_first=True)
        self.own = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.classes = nn.Linear(width, classes + 1)
        self.mask = nn.Linear(width, width)
        self.pixel = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, image):
        tokens = self.vit(image)[:, 1:]
        pixels = self.pixel(tokens.transpose(1, 2).reshape(1, self.width, *self.grid))
        x = self.query
        x = self.norms[0](x + self.cross(x, tokens, tokens, need_weights=False)[0])
        x = self.norms[1](x + self.own(x, x, x, need_weights=False)[0])
        x = self.norms[2](x)
        return self.classes(x), torch.einsum("bqc,bchw->bqhw", self.mask(x), pixels)


def mask_classifier(seen, size):
    return Queries(timm_vit(seen, size, mlp_ratio=2), 16, 5, 7, (size[0] // 8, size[1] // 8))


def convnext(seen, size):
    import timm

    model = timm.create_model("convnext_atto", dims=(8, 8, 16, 16), depths=(1, 1, 2, 1), num_classes=0)
    for n, stage in enumerate(model.stages, 1):
        seen.tokens(f"stage:{n}", stage, None, channels_first=True)
    return Features(model)


def resnet(seen, size):
    from timm.models.resnet import Bottleneck, ResNet

    model = ResNet(Bottleneck, layers=(1, 2, 1, 1), channels=(4, 4, 8, 8), stem_width=8, base_width=64,
                   num_classes=7)  # fmt: skip
    for n in range(1, 5):
        seen.tokens(f"stage:{n}", getattr(model, f"layer{n}"), None, channels_first=True)
    return Wrapped(model, lambda out: out)


def efficientvit(seen, size):
    from timm.models.efficientvit_mit import EfficientVit

    model = EfficientVit(widths=(4, 4, 8, 8, 8), depths=(1, 1, 2, 2, 2), head_dim=4, expand_ratio=2, head_widths=(8, 8), num_classes=0)
    for n, stage in enumerate(model.stages, 1):
        seen.tokens(f"stage:{n}", stage, None, channels_first=True)
    return Features(model)


# name: (maker, size of the export (height, width), size of the run, arguments)
MODELS = {
    "timm-vit": (timm_vit, (32, 48), (32, 48), {}),
    "timm-vit-eager": (timm_vit, (32, 48), (32, 48), {"fused": False, "qk_norm": True}),
    "timm-dinov2": (timm_vit, (56, 56), (56, 56), {"name": "vit_small_patch14_dinov2", "patch_size": 14, "embed_dim": 16,
                    "mlp_ratio": 2}),
    "timm-dinov2-any": (timm_vit, (56, 56), (42, 70), {"name": "vit_small_patch14_dinov2", "patch_size": 14,
                        "embed_dim": 16, "mlp_ratio": 2, "dynamic_img_size": True, "run": (42, 70)}),
    "timm-dinov2-reg": (timm_vit, (56, 56), (56, 56), {"name": "vit_small_patch14_reg4_dinov2", "patch_size": 14,
                        "embed_dim": 16, "mlp_ratio": 2, "skip": 5}),
    "hf-vit": (hf_vit, (32, 48), (32, 48), {}),
    "hf-dinov2": (hf_dinov2, (56, 56), (56, 56), {"fixed": True}),
    "hf-dinov2-any": (hf_dinov2, (56, 56), (42, 70), {"run": (42, 70)}),
    "hf-dinov2-reg": (hf_dinov2, (56, 56), (56, 56), {"registers": 4}),
    "segformer": (segformer, (64, 96), (64, 96), {}),
    "segmenter": (segmenter, (32, 48), (32, 48), {}),
    "setr": (setr, (32, 48), (32, 48), {}),
    "swin": (swin, (64, 96), (64, 96), {}),
    "mask-classifier": (mask_classifier, (32, 48), (32, 48), {}),
    "convnext": (convnext, (64, 96), (64, 96), {}),
    "resnet": (resnet, (64, 96), (64, 96), {}),
    "efficientvit": (efficientvit, (64, 96), (64, 96), {}),
}  # fmt: skip


# Exports of these for any size are for the size of the example all the same: the table of positions is fixed in them.
BROKEN = [("timm-dinov2-any", "ts"), ("hf-dinov2-any", "dy")]


def sampled(array):
    """Grid, width and evenly spread numbers of an array [h, w, C]."""
    flat = array.reshape(-1)
    step = max(1, flat.size // SAMPLES) | 1
    at = list(range(0, flat.size, step))[:SAMPLES]
    return {"grid": list(array.shape[:2]), "width": array.shape[2], "step": step,
            "values": [round(float(flat[i]), 6) for i in at]}  # fmt: skip


def logits_of(outputs):
    """The expected logits as [h, w, K], or None."""
    if isinstance(outputs, tuple):
        scores, masks = outputs
        return torch.einsum("bqc,bqhw->bchw", scores.softmax(-1)[..., :-1], masks.sigmoid())[0].permute(1, 2, 0).numpy()
    if outputs.dim() == 4 and outputs.shape[1] == 5:
        return outputs[0].permute(1, 2, 0).numpy()
    return None


def export(model, size, dynamic, path, dynamo):
    settings = dict(input_names=["image"], dynamo=dynamo)
    if dynamo:
        axes = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
        settings |= dict(external_data=False, verbose=False)
        if dynamic:
            patch = 14
            axes = {2: patch * torch.export.Dim("rows", min=2, max=64), 3: patch * torch.export.Dim("cols", min=2, max=64)}
            settings["dynamic_shapes"] = (axes,)
    else:
        settings["opset_version"] = 17
        if dynamic:
            settings["dynamic_axes"] = {"image": {2: "height", 3: "width"}}
    torch.onnx.export(model, (picture(*size),), str(path), **settings)


def make(name, out):
    maker, size, run, arguments = MODELS[name]
    seen = Seen()
    seed = sum(map(ord, name))
    torch.manual_seed(seed)
    model = stir(maker(seen, size, **arguments), seed)
    with torch.no_grad():
        outputs = model(picture(*run))
    features = {selector: sampled(array) for selector, array in seen.found.items()}
    logits = logits_of(outputs)
    told = {"size": [run[1], run[0]], "features": features, "logits": None if logits is None else sampled(logits)}
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


def shrink(path):
    """Drops what only debuggers read: doc strings, stack traces, inferred shapes."""
    import onnx

    model = onnx.load(path)
    for node in list(model.graph.node) + [n for f in model.functions for n in f.node]:
        node.doc_string = node.name = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    for function in model.functions:
        del function.value_info[:]
        del function.metadata_props[:]
    if model.ByteSize() > LARGEST:
        shorten(model.graph)
    onnx.save(model, path)


def shorten(graph):
    """Gives inner tensors short names: paths of modules are half of a tiny file."""
    kept = {value.name for value in [*graph.input, *graph.output]} | {""}
    names = {}

    def short(name):
        return name if name in kept else names.setdefault(name, f"t{len(names)}")

    for node in graph.node:
        node.input[:] = map(short, node.input)
        node.output[:] = map(short, node.output)
        assert not any(a.type in (5, 10) for a in node.attribute), "branches are not renamed"
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)


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
    for name in arguments.names or [*MODELS, "heads"]:
        heads(arguments.out) if name == "heads" else make(name, arguments.out)


if __name__ == "__main__":
    main()
