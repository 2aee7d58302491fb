"""Segmentation heads on features `[1, h, w, C]`: what is trained, what `farout model prepare --head` reads.

A head's file is safetensors. Metadata: `farout.head` (kind), `classes` (JSON), `features` (JSON, selectors), `model_sha256`
(the prepared file that it was trained on), `origin_sha256` (what that was prepared from), `layers`, `heads`, and notes.
Beside the weights it holds `golden.features` and `golden.logits`, by which farout checks that it computes the same.
"""

import json
import math
import os

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

EPSILON = 1e-5


class Linear(nn.Module):
    """One affine map per cell: `[b, h, w, C]` to `[b, K, h, w]`."""

    kind = "linear"
    settings = {}

    def __init__(self, width, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, cells):
        return F.linear(cells, self.weight, self.bias).permute(0, 3, 1, 2)

    def first(self):
        return self.weight, self.bias


class Block(nn.Module):
    """Pre-norm transformer block: self-attention and an MLP with GELU (erf)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class MaskTransformer(nn.Module):
    """Segmenter's decoder (Strudel et al. 2021): learnt class tokens join the cells, a class's mask is the cosine
    between its token and each cell, normalised over the classes. `[b, h, w, C]` to `[b, K, h, w]`."""

    kind = "mask-transformer"

    def __init__(self, width, classes, inner=192, layers=2, heads=3):
        super().__init__()
        if inner % heads:
            raise SystemExit(f"--inner {inner} is no multiple of --heads {heads}")
        self.settings = {"layers": str(layers), "heads": str(heads)}
        self.classes = classes
        self.proj_in = nn.Linear(width, inner)
        self.class_tokens = nn.Parameter(0.02 * torch.randn(1, classes, inner))
        self.blocks = nn.ModuleList(Block(inner, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(inner, EPSILON)
        self.proj_cells = nn.Parameter(torch.randn(inner, inner) / math.sqrt(inner))
        self.proj_classes = nn.Parameter(torch.randn(inner, inner) / math.sqrt(inner))
        self.mask_norm = nn.LayerNorm(classes, EPSILON)

    def forward(self, cells):
        b, h, w, _ = cells.shape
        x = self.proj_in(cells.reshape(b, h * w, -1))
        x = torch.cat([x, self.class_tokens.expand(b, -1, -1)], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        cells, tokens = x[:, : h * w] @ self.proj_cells, x[:, h * w :] @ self.proj_classes
        masks = F.normalize(cells, dim=-1) @ F.normalize(tokens, dim=-1).transpose(1, 2)
        return self.mask_norm(masks).transpose(1, 2).reshape(b, self.classes, h, w)

    def first(self):
        return self.proj_in.weight, self.proj_in.bias


def make(kind, width, classes, **more):
    """A head by its kind."""
    return Linear(width, classes) if kind == Linear.kind else MaskTransformer(width, classes, **more)


@torch.no_grad()
def absorb(head, mean, std):
    """Makes a head that was trained on `(features - mean) / std` one that takes the features themselves."""
    weight, bias = head.first()
    weight.div_(std)
    bias.sub_(weight @ mean)


@torch.no_grad()
def save(head, path, mean, std, metadata):
    """Writes the head with a golden example on features drawn like the real ones."""
    head.eval()
    generator = torch.Generator().manual_seed(0)
    golden = mean + std * torch.randn(1, 5, 7, len(mean), generator=generator)
    tensors = {name: value.detach().clone().contiguous() for name, value in head.state_dict().items()}
    tensors["golden.features"], tensors["golden.logits"] = golden.contiguous(), head(golden).contiguous()
    told = {"farout.head": head.kind} | head.settings
    told |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    save_file(tensors, str(path), metadata=told)
    os.chmod(path, 0o644)  # save_file lets nobody else read it
