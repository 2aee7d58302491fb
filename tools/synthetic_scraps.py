"""The auxiliary task of training: scraps of normal pictures, put where they do not belong.

A scrap is a piece of another *normal* training picture, turned, zoomed and shaded, cut out along a
random outline and laid onto a picture. Nothing here knows of strangers. Pixels under scraps teach the
segmentation nothing; the keys of the last block learn to put scraps far from the keys of clean patches,
in the very distance that farout's search measures.
"""

import math

import torch
from torch.nn import functional as F

# Clean keys kept of every step, and how many steps they are kept for.
REMEMBERED, STEPS_REMEMBERED = 700, 8


def outlines(count, height, width, top, scale, generator):
    """Soft masks [count, height, width] of up to five random outlines each, mostly below row `top`."""
    rand = lambda: torch.rand(count, generator=generator).view(count, 1, 1)
    rows, columns = torch.arange(height).view(1, height, 1) + 0.5, torch.arange(width).view(1, 1, width) + 0.5
    mask = torch.zeros(count, height, width)
    for _ in range(5):
        present = (rand() < 0.5).float()
        size = scale * torch.exp(math.log(6) + rand() * math.log(65 / 6))
        y, x = top + rand() * (height - top) * 0.9, rand() * width
        aspect, turn = torch.exp((rand() - 0.5) * 1.6), rand() * math.pi
        dx, dy = columns - x, rows - y
        u = (dx * turn.cos() + dy * turn.sin()) / aspect.sqrt() / size
        v = (dy * turn.cos() - dx * turn.sin()) * aspect.sqrt() / size
        angle, radius = torch.atan2(v, u), (u * u + v * v).sqrt()
        wave = 1.0
        for k in (2, 3, 5, 7):
            wave = wave + 0.5 * rand() / k**0.5 * torch.cos(k * angle + rand() * 2 * math.pi)
        inside = torch.where(rand() < 0.3, 1 - torch.maximum(u.abs(), v.abs()) / 0.9, wave * 0.9 - radius) * size
        # Some are fallen apart into bars.
        bars = torch.cos(u * (3 + 6 * rand()) + 3 * v * (rand() < 0.3).float())
        inside = torch.where((rand() < 0.3) & (bars < -0.2), -1.0, inside)
        mask = torch.maximum(mask, present * (inside + 0.5).clamp(0, 1))
    return mask


def pieces(pictures, height, width, generator):
    """Pieces [B, 3, height, width] of `pictures`, shuffled, turned, mirrored and zoomed."""
    count = len(pictures)
    rand = lambda: torch.rand(count, generator=generator)
    source = pictures[torch.randperm(count, generator=generator)]
    zoom = torch.exp(math.log(0.12) + rand() * math.log(1.6 / 0.12))
    turn = (rand() - 0.5) * math.pi * (rand() < 0.6).float()
    mirror, aspect = torch.where(rand() < 0.5, -1.0, 1.0), height / width
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0], place[:, 0, 1] = zoom * turn.cos() * mirror, -zoom * turn.sin() * aspect
    place[:, 1, 0], place[:, 1, 1] = zoom * turn.sin() * mirror / aspect, zoom * turn.cos()
    place[:, 0, 2], place[:, 1, 2] = (rand() * 2 - 1) * 0.8, (rand() * 2 - 1) * 0.8
    grid = F.affine_grid(place, (count, 3, height, width), align_corners=False)
    return F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)


def scatter(pictures, targets, generator):
    """`targets` [B, 3, h, w] with scraps of the normalised `pictures` on them; the scraps' mask [B, h, w];
    and the part of it that shows, for a scrap of asphalt on asphalt is nothing to learn from."""
    count, _, height, width = targets.shape
    coarse = outlines(count, height // 2, width // 2, height * 0.165, 0.5, generator)
    mask = F.interpolate(coarse[:, None], (height, width), mode="bilinear", align_corners=False)
    normal = lambda *shape: torch.randn(count, *shape, generator=generator)
    scrap, other = (pieces(pictures, height, width, generator) for _ in range(2))
    # Half of them are made of two pieces that show through each other in spots.
    spots = F.interpolate(normal(1, height // 24, width // 24), (height, width), mode="bilinear", align_corners=False)
    spots = (spots * 6).clamp(0, 1) * (torch.rand(count, 1, 1, 1, generator=generator) < 0.5)
    scrap = scrap + (other - scrap) * spots
    slope = (torch.arange(height).view(1, 1, height, 1) / height - 0.5) * 0.4 * normal(1, 1, 1)
    scrap = scrap * (1 + 0.25 * normal(1, 1, 1)) + 0.12 * normal(1, 1, 1) + slope
    change = F.avg_pool2d((scrap - targets).abs().mean(1, keepdim=True), 15, 1, 7)
    return targets + (scrap - targets) * mask, mask[:, 0], (mask * (change > 0.16))[:, 0]


def distances(keys, covered, showing, memory, generator, references=2400, clean_queries=900):
    """Mean L2 distance of patches to their 3 nearest clean keys, of other pictures of the batch and `memory`.

    `keys` [B, N, C]; `covered` [B, N] is the share of each patch under scraps, `showing` that under scraps
    that show; `memory` [M, C] holds clean keys of earlier steps. Returns the distances; 1 where the patch
    is (0 where it is not) a scrap's; and some of the clean keys, to be remembered. Patches in between are
    left out.
    """
    batch, count, width = keys.shape
    keys, covered, showing = keys.reshape(-1, width), covered.reshape(-1), showing.reshape(-1)
    picture = torch.arange(batch).repeat_interleave(count)
    shuffled = lambda index: index[torch.randperm(len(index), generator=generator)]
    clean = (covered == 0).nonzero().ravel()
    reference = shuffled(clean)[:references]
    scrap = (showing > 0.3).nonzero().ravel()
    query = torch.cat([scrap, shuffled(clean)[:clean_queries]])
    a, b = keys[query], torch.cat([keys[reference], memory])
    square = ((a * a).sum(1, keepdim=True) + (b * b).sum(1) - 2 * a @ b.T).clamp(min=1e-4)
    same = picture[query][:, None] == torch.cat([picture[reference], torch.full((len(memory),), -1)])
    square = square.masked_fill(same, 1e6)
    is_scrap = (torch.arange(len(query)) < len(scrap)).float()
    return square.topk(3, largest=False)[0].sqrt().mean(1), is_scrap, keys[reference[:REMEMBERED]].detach()
