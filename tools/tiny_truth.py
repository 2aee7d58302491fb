"""The truth about tiny models: the picture that they are shown, and what hooks in PyTorch see inside of them."""

import numpy as np
import torch

SAMPLES = 48


def picture(height, width):
    """The input of every test: [1, 3, height, width], sin(0.7 c + 0.13 (c + 1) y + 0.17 x + 0.01 x y)."""
    c, y, x = np.meshgrid(np.arange(3.0), np.arange(height), np.arange(width), indexing="ij")
    return torch.from_numpy(np.sin(0.7 * c + 0.13 * (c + 1) * y + 0.17 * x + 0.01 * x * y).astype(np.float32))[None]


def fed(model, height, width):
    """The picture in the form that the model takes: `[1, 3, height, width]`, bytes with their channels last (the same
    from 0 to 255, rounded), or without a batch."""
    image = picture(height, width)
    match getattr(model, "kind", None):
        case "bytes":
            return (127.5 * image + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        case "alone":
            return image[0]
    return image


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
