"""Public segmentation models as PyTorch modules that give logits, and where their weights come from."""

import dataclasses
import re
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

import segmentation_heads

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}
CITYSCAPES = [
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
]  # fmt: skip


@dataclasses.dataclass
class Entry:
    """One model: how it is made, fed, and where its weights are."""

    about: str
    source: str
    make: Callable
    weights: str | None = None
    size: tuple[int, int] = (1024, 512)
    tiny_size: tuple[int, int] = (96, 64)
    multiple: int = 32
    preprocessing: dict = dataclasses.field(default_factory=lambda: IMAGENET)
    classes: list[str] = dataclasses.field(default_factory=lambda: CITYSCAPES)


class Backbone(nn.Module):
    """A plain vision transformer of timm: images to cells `[b, h, w, C]`, class and register tokens dropped."""

    def __init__(self, name, size, pretrained=False, norm=True, **more):
        super().__init__()
        import timm

        width, height = size
        self.vit = timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=(height, width), **more)
        if not norm:
            self.vit.norm = nn.Identity()
        self.patch = self.vit.patch_embed.patch_size[0]
        self.width = self.vit.embed_dim

    def forward(self, image):
        tokens = self.vit.forward_features(image)[:, self.vit.num_prefix_tokens :]
        rows, cols = image.shape[-2] // self.patch, image.shape[-1] // self.patch
        return tokens.reshape(image.shape[0], rows, cols, self.width)


class Headed(nn.Module):
    """A backbone and a head on its cells."""

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, image):
        return self.head(self.backbone(image))


class UpHead(nn.Module):
    """SETR's decoders "naive" and "PUP": norm, then convolutions that each end with an enlargement."""

    def __init__(self, width, classes, channels, convs, kernel, factor):
        super().__init__()
        self.norm = nn.LayerNorm(width, 1e-6)
        widths = [width] + [channels] * convs
        self.convs = nn.ModuleList(nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=False) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(convs))
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        self.factor = factor

    def forward(self, cells):
        x = self.norm(cells).permute(0, 3, 1, 2)
        for conv, norm in zip(self.convs, self.norms):
            x = F.interpolate(norm(conv(x)).relu(), scale_factor=self.factor, mode="bilinear", align_corners=False)
        return self.conv_seg(x)


class BatchNormHead(nn.Module):
    """The linear heads that the makers of DINOv2 published: batch norm and an affine map per cell."""

    def __init__(self, width, classes):
        super().__init__()
        self.bn, self.conv_seg = nn.BatchNorm2d(width), nn.Conv2d(width, classes, 1)

    def forward(self, cells):
        return self.conv_seg(self.bn(cells.permute(0, 3, 1, 2)))


class Outputs(nn.Module):
    """A model of transformers whose result is made plain tensors."""

    def __init__(self, model, outputs, pick):
        super().__init__()
        self.model, self.outputs, self.pick = model, outputs, pick

    def forward(self, image):
        return self.pick(self.model(pixel_values=image))


def load(model, checkpoint, renames, ignored=()):
    """Fills `model` from a checkpoint whose names become the model's by `renames` (pattern, replacement), in order.

    Position embeddings of another grid are interpolated. What is missing or left over ends the program, with the names.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        state = state.get(key, state)
    own, taken, left = model.state_dict(), {}, []
    for name, value in state.items():
        if any(re.match(pattern, name) for pattern in ignored):
            continue
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        if name not in own:
            left.append(name)
            continue
        if name.endswith("pos_embed") and value.shape != own[name].shape:
            value = enlarged(value, model.backbone)
        if value.shape != own[name].shape:
            raise SystemExit(f"{checkpoint}: {name} is {tuple(value.shape)}, the model wants {tuple(own[name].shape)}")
        taken[name] = value
    missing = [name for name in own if name not in taken and not name.endswith("num_batches_tracked")]
    if missing or left:
        raise SystemExit(f"{checkpoint} does not fit: {len(missing)} missing ({missing[:5]}), {len(left)} left over ({left[:5]})")
    model.load_state_dict(taken, strict=False)


def enlarged(table, backbone):
    """Position embeddings `[1, prefix + n, C]` of a square grid for the grid of `backbone`."""
    prefix = backbone.vit.num_prefix_tokens
    tokens, cells = table[:, :prefix], table[:, prefix:]
    side = round(cells.shape[1] ** 0.5)
    cells = cells.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    cells = F.interpolate(cells, backbone.vit.patch_embed.grid_size, mode="bicubic", align_corners=False)
    return torch.cat([tokens, cells.permute(0, 2, 3, 1).flatten(1, 2)], 1)


# Names in the checkpoints of Segmenter's authors: encoder.*, decoder.*.
SEGMENTER = [
    (r"^encoder\.", "backbone.vit."),
    (r"^decoder\.proj_dec\.", "head.proj_in."),
    (r"^decoder\.cls_emb$", "head.class_tokens"),
    (r"^decoder\.proj_patch$", "head.proj_cells"),
    (r"^decoder\.decoder_norm\.", "head.norm."),
    (r"^decoder\.blocks\.(\d+)\.(attn|mlp)\.", r"head.blocks.\1."),
    (r"^decoder\.", "head."),
]
# Names in mmsegmentation's checkpoints of SETR.
SETR = [
    (r"^backbone\.patch_embed\.projection\.", "backbone.vit.patch_embed.proj."),
    (r"^backbone\.layers\.(\d+)\.ln(\d)\.", r"backbone.vit.blocks.\1.norm\2."),
    (r"^backbone\.layers\.(\d+)\.attn\.attn\.in_proj_(weight|bias)", r"backbone.vit.blocks.\1.attn.qkv.\2"),
    (r"^backbone\.layers\.(\d+)\.attn\.attn\.out_proj\.", r"backbone.vit.blocks.\1.attn.proj."),
    (r"^backbone\.layers\.(\d+)\.ffn\.layers\.0\.0\.", r"backbone.vit.blocks.\1.mlp.fc1."),
    (r"^backbone\.layers\.(\d+)\.ffn\.layers\.1\.", r"backbone.vit.blocks.\1.mlp.fc2."),
    (r"^backbone\.(cls_token|pos_embed)$", r"backbone.vit.\1"),
    (r"^decode_head\.up_convs\.(\d+)\.0\.conv\.", r"head.convs.\1."),
    (r"^decode_head\.up_convs\.(\d+)\.0\.bn\.", r"head.norms.\1."),
    (r"^decode_head\.", "head."),
]
TINY_VIT = {"embed_dim": 48, "depth": 3, "num_heads": 3}


def vit(name, size, weights, tiny, norm=True, **more):
    """The backbone, with timm's pretrained weights if `weights` is "timm"."""
    return Backbone(name, size, weights == "timm", norm, **(TINY_VIT if tiny else {}), **more)


def segmenter(name):
    def make(size, classes, weights, tiny):
        backbone = vit(name, size, None, tiny, norm_layer=nn.LayerNorm)
        inner = {"inner": 48, "layers": 1, "heads": 3} if tiny else {"inner": backbone.width, "layers": 2, "heads": backbone.width // 64}
        model = Headed(backbone, segmentation_heads.MaskTransformer(backbone.width, len(classes), **inner))
        if weights:
            load(model, weights, SEGMENTER, ignored=[r"encoder\.head\."])
        return model

    return make


def setr(convs, kernel, factors):
    def make(size, classes, weights, tiny):
        backbone = vit("vit_large_patch16_384", size, None, tiny, norm=False)
        model = Headed(backbone, UpHead(backbone.width, len(classes), 16 if tiny else 256, convs, kernel, factors))
        if weights:
            load(model, weights, SETR, ignored=[r"auxiliary_head\."])
        return model

    return make


def dino(name):
    def make(size, classes, weights, tiny):
        checkpoint = weights if weights and weights != "timm" else None
        backbone = vit(name, size, "timm" if weights else None, tiny)
        if not checkpoint and weights:
            return Bare(backbone)
        model = Headed(backbone, BatchNormHead(backbone.width, len(classes)))
        if checkpoint:
            load(model.head, checkpoint, [(r"^decode_head\.", "")])
        return model

    return make


class Bare(nn.Module):
    """A backbone without logits."""

    outputs = ["tokens"]

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, image):
        return self.backbone(image)


def segformer(number):
    depths = [[2, 2, 2, 2], [2, 2, 2, 2], [3, 4, 6, 3], [3, 4, 18, 3], [3, 8, 27, 3], [3, 6, 40, 3]][number]
    widths, decoder = ([32, 64, 160, 256], 256) if number == 0 else ([64, 128, 320, 512], 256 if number == 1 else 768)

    def make(size, classes, weights, tiny):
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        if weights:
            model = SegformerForSemanticSegmentation.from_pretrained(weights)
        else:
            config = SegformerConfig(depths=[1] * 4 if tiny else depths, hidden_sizes=[8, 16, 24, 32] if tiny else widths,
                                     decoder_hidden_size=16 if tiny else decoder, num_labels=len(classes),
                                     num_attention_heads=[1, 2, 3, 4] if tiny else [1, 2, 5, 8])  # fmt: skip
            model = SegformerForSemanticSegmentation(config)
        return Outputs(model, ["logits"], lambda out: out.logits)

    return make


def mask2former(depths, width, heads, window):
    def make(size, classes, weights, tiny):
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

        if weights:
            model = Mask2FormerForUniversalSegmentation.from_pretrained(weights)
        else:
            swin = SwinConfig(image_size=max(size), depths=[1] * 4 if tiny else depths, embed_dim=12 if tiny else width,
                              num_heads=[1, 2, 3, 4] if tiny else heads, window_size=4 if tiny else window,
                              out_features=["stage1", "stage2", "stage3", "stage4"])  # fmt: skip
            more = dict(hidden_dim=32, feature_size=32, mask_feature_size=32, num_attention_heads=4, dim_feedforward=64,
                        encoder_feedforward_dim=64, encoder_layers=1, decoder_layers=2, num_queries=10) if tiny else {}  # fmt: skip
            config = Mask2FormerConfig(backbone_config=swin, num_labels=len(classes), **more)
            model = Mask2FormerForUniversalSegmentation(config)
        pick = lambda out: (out.class_queries_logits, out.masks_queries_logits)
        return Outputs(model, ["class_logits", "masks"], pick)

    return make


MODELS = {
    "segmenter-vit-b16": Entry(
        "Segmenter ViT-B/16, mask transformer of 2 blocks", "--weights checkpoint.pth of the authors (rstrudel/segmenter)",
        segmenter("vit_base_patch16_384"), size=(768, 768), multiple=16, preprocessing=HALF),
    "setr-naive": Entry(
        "SETR ViT-L/16, naive decoder", "--weights of mmsegmentation (setr_vit-l_naive, Cityscapes)",
        setr(1, 1, 4), size=(768, 768), multiple=16),
    "setr-pup": Entry(
        "SETR ViT-L/16, progressive decoder", "--weights of mmsegmentation (setr_vit-l_pup, Cityscapes)",
        setr(4, 3, 2), size=(768, 768), multiple=16),
}  # fmt: skip
for _number in range(6):
    _name = f"nvidia/segformer-b{_number}-finetuned-cityscapes-1024-1024"
    MODELS[f"segformer-b{_number}"] = Entry(f"SegFormer MiT-B{_number}, Cityscapes", f"Hugging Face {_name}", segformer(_number), _name)
for _kind, _swin in {
    "tiny": ([2, 2, 6, 2], 96, [3, 6, 12, 24], 7),
    "small": ([2, 2, 18, 2], 96, [3, 6, 12, 24], 7),
    "base": ([2, 2, 18, 2], 128, [4, 8, 16, 32], 12),
    "large": ([2, 2, 18, 2], 192, [6, 12, 24, 48], 12),
}.items():
    _name = f"facebook/mask2former-swin-{_kind}-cityscapes-semantic"
    MODELS[f"mask2former-swin-{_kind}"] = Entry(f"Mask2Former Swin-{_kind}, Cityscapes", f"Hugging Face {_name}", mask2former(*_swin), _name)
for _kind in ["small", "base", "large"]:
    for _version, _patch, _size in [("dinov2", 14, (1022, 518)), ("dinov3", 16, (1024, 512))]:
        MODELS[f"{_version}-{_kind}"] = Entry(
            f"{_version.replace('dino', 'DINO')} ViT-{_kind}/{_patch} and a linear head",
            "backbone: timm on Hugging Face; head: --weights (names decode_head.bn, decode_head.conv_seg); without it no logits",
            dino(f"vit_{_kind}_patch{_patch}_{_version}"), "timm", _size,
            (140, 70) if _patch == 14 else (96, 64), _patch)  # fmt: skip
