"""Tiny random-weight models of many architectures, with hooks on everything that can serve as features."""

import math

import torch
from torch import nn

from tiny_truth import windows_undone


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


class Turned(nn.Module):
    """A model that is fed otherwise: bytes with their channels last, normalised inside, or a picture without a batch."""

    def __init__(self, model, kind):
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, image):
        if self.kind == "bytes":
            image = (image.to(torch.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        elif self.kind == "alone":
            return self.model(image.unsqueeze(0)).squeeze(0)
        return self.model(image)


def turned(seen, size, kind, **more):
    return Turned(timm_vit(seen, size, **more), kind)


def hf_vit(seen, size):
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                       image_size=size, patch_size=8)  # fmt: skip
    model = ViTModel(config, add_pooling_layer=False)
    hf_hooks(seen, model, (size[0] // 8, size[1] // 8), 1)
    return Wrapped(model, lambda out: out.last_hidden_state)


def hf_hooks(seen, model, grid, skip):
    """Blocks of Hugging Face's ViT, DINOv2 and DINOv3, wherever a version keeps them."""
    layers = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == 2)
    for n, layer in enumerate(layers, 1):
        for role in ["query", "key", "value"]:
            names = (role, f"{role[0]}_proj")
            found = [m for name, m in layer.named_modules() if name.rsplit(".", 1)[-1] in names]
            seen.tokens(f"{role}:{n}", found[0], grid, skip)
        seen.tokens(f"tokens:{n}", layer, grid, skip)
    seen.tokens("norm", getattr(model, "layernorm", None) or model.norm, grid, skip)


def timm_rope(seen, size, name, skip, patch=8, **more):
    """A ViT that turns queries and keys of patches by their place; what hooks see is what the layers gave before that."""
    import timm

    settings = dict(img_size=size, patch_size=patch, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2, num_classes=0)
    model = timm.create_model(name, **(settings | more))
    grid = (size[0] // patch, size[1] // patch)
    for n, block in enumerate(model.blocks, 1):
        attention = block.attn
        if attention.qkv is None:
            for role, layer in zip(["query", "key", "value"], [attention.q_proj, attention.k_proj, attention.v_proj]):
                seen.tokens(f"{role}:{n}", layer, grid, skip)
        elif attention.q_bias is None:
            seen.qkv(n, attention.qkv, grid, skip)
        else:
            # The layer is called as a function, with biases that are not its own.
            attention.register_forward_pre_hook(projected(seen, n, grid, skip))
        seen.tokens(f"tokens:{n}", block, grid, skip)
    if not isinstance(model.norm, nn.Identity):
        seen.tokens("norm", model.norm, grid, skip)
    return Features(model)


def projected(seen, number, grid, skip):
    """What a fused projection without a module of its own gives."""

    def hook(attention, inputs):
        bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
        data = nn.functional.linear(inputs[0], attention.qkv.weight, bias).detach()[0, skip:].reshape(*grid, -1)
        for role, part in zip(["query", "key", "value"], data.chunk(3, dim=-1)):
            seen.found[f"{role}:{number}"] = part.numpy().copy()

    return hook


def hf_dinov3(seen, size, registers=4):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                             image_size=size, patch_size=8, num_register_tokens=registers)  # fmt: skip
    model = DINOv3ViTModel(config)
    hf_hooks(seen, model, (size[0] // 8, size[1] // 8), 1 + registers)
    return Wrapped(model, lambda out: out.last_hidden_state)


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
    "timm-vit-bytes": (turned, (32, 48), (32, 48), {"kind": "bytes", "mlp_ratio": 2}),
    "timm-vit-alone": (turned, (32, 48), (32, 48), {"kind": "alone", "mlp_ratio": 2}),
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
    "timm-dinov3": (timm_rope, (32, 48), (32, 48), {"name": "vit_small_patch16_dinov3", "skip": 5}),
    "hf-dinov3": (hf_dinov3, (32, 48), (32, 48), {}),
    # Rotates pairs of neighbours instead of halves; with one projection for all and with three.
    "timm-eva02": (timm_rope, (32, 48), (32, 48), {"name": "eva02_tiny_patch14_224", "skip": 1, "ref_feat_shape": (4, 6)}),
    "timm-eva02-apart": (timm_rope, (32, 48), (32, 48), {"name": "eva02_base_patch14_224", "skip": 1,
                         "ref_feat_shape": (4, 6), "scale_mlp": False}),
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
