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
REMEMBERED, STEPS_REMEMBERED = 500, 8


def outlines(count, height, width, top, scale, shapes, generator):
    """Signed distances [count, height, width] to up to `shapes` random outlines each, positive inside and in
    units of `scale` pixels, mostly below row `top`; and the centre [count, 2] of the first, in -1..1 (x, y)."""
    rand = lambda: torch.rand(count, generator=generator).view(count, 1, 1)
    rows, columns = torch.arange(height).view(1, height, 1) + 0.5, torch.arange(width).view(1, 1, width) + 0.5
    inside, centre = torch.full((count, height, width), -9.0), None
    for shape in range(shapes):
        size = scale * torch.exp(math.log(6) + rand() * math.log(90 / 6))
        y, x = top + rand() * (height - top) * 0.9, rand() * width
        if centre is None:
            centre = torch.cat([x / width, y / height], 1)[..., 0] * 2 - 1
        aspect, turn = torch.exp((rand() - 0.5) * 1.6), rand() * math.pi * (rand() < 0.7).float()
        dx, dy = columns - x, rows - y
        u = (dx * turn.cos() + dy * turn.sin()) / aspect.sqrt() / size
        v = (dy * turn.cos() - dx * turn.sin()) * aspect.sqrt() / size
        angle, radius = torch.atan2(v, u), (u * u + v * v).sqrt()
        wave, rough = 1.0, rand()
        for k in (2, 3, 5, 7):
            wave = wave + 0.6 * rough * rand() / k**0.5 * torch.cos(k * angle + rand() * 2 * math.pi)
        box = 1 - torch.maximum(u.abs() / (1 - 0.6 * rand() * v.clamp(-1, 1)), v.abs()) / 0.9
        one = torch.where(rand() < 0.35, box, wave * 0.9 - radius) * size
        # Some are hollow, some fallen apart into bars.
        hollow = (rand() < 0.15) & (radius < 0.3 + 0.3 * rand())
        bars = (rand() < 0.25) & (torch.cos(u * (3 + 6 * rand()) + 3 * v * (rand() < 0.3).float()) < -0.2)
        one = torch.where(hollow | bars | (rand() > 0.55), -9.0, one)
        inside = torch.maximum(inside, one)
    return inside / scale, centre


def pieces(pictures, classes, centre, height, width, generator):
    """Pieces [B, 3, height, width] of `pictures`, turned, mirrored and zoomed.

    Most are pieces of the very picture that they go into: the same light and air must not stand out.
    What comes to lie at `centre` is a place of a class drawn evenly from those that the picture has: else
    nearly all scraps would be sky and asphalt. `classes` [B, h, w] may be coarser than the pictures.
    """
    count = len(pictures)
    rand = lambda: torch.rand(count, generator=generator)
    order = torch.arange(count).where(rand() < 0.65, torch.randperm(count, generator=generator))
    zoom = torch.exp(math.log(0.15) + rand() * math.log(1.5 / 0.15))
    turn = (rand() - 0.5) * math.pi * (rand() < 0.6).float()
    mirror, aspect = torch.where(rand() < 0.5, -1.0, 1.0), height / width
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0], place[:, 0, 1] = zoom * turn.cos() * mirror, -zoom * turn.sin() * aspect
    place[:, 1, 0], place[:, 1, 1] = zoom * turn.sin() * mirror / aspect, zoom * turn.cos()
    for i, picture in enumerate(order):
        present = classes[picture].unique()
        chosen = present[torch.randint(len(present), (), generator=generator)]
        spots = (classes[picture] == chosen).nonzero()
        row, column = spots[torch.randint(len(spots), (), generator=generator)]
        size = classes.shape[1:]
        source = torch.stack([2 * (column + 0.5) / size[1] - 1, 2 * (row + 0.5) / size[0] - 1])
        place[i, :, 2] = source - place[i, :, :2] @ centre[i]
    grid = F.affine_grid(place, (count, 3, height, width), align_corners=False)
    return F.grid_sample(pictures[order], grid, padding_mode="reflection", align_corners=False)


def scatter(pictures, classes, targets, generator):
    """`targets` [B, 3, h, w] with scraps of the normalised `pictures` on them; the scraps' mask [B, h, w];
    and the part of it that shows, for a scrap of asphalt on asphalt is nothing to learn from.

    The edges are as sharp as the pictures' own and the scraps as noisy: neither may give them away.
    """
    count, _, height, width = targets.shape
    normal = lambda *shape: torch.randn(count, *shape, generator=generator)
    rand = lambda *shape: torch.rand(count, *shape, generator=generator)
    full = lambda x: F.interpolate(x[:, None], (height, width), mode="bilinear", align_corners=False)
    out, mask = targets, torch.zeros(count, 1, height, width)
    layers = []
    for shapes in (3, 4):
        inside, centre = outlines(count, height // 4, width // 4, height * 0.0825, 0.25, shapes, generator)
        scrap = pieces(pictures, classes, centre, height, width, generator)
        slope = (torch.arange(height).view(1, 1, height, 1) / height - 0.5) * 0.3 * normal(1, 1, 1)
        scrap = scrap * (1 + 0.15 * normal(1, 1, 1)) + 0.08 * normal(1, 1, 1) + slope
        layers.append(((full(inside) / (0.6 + rand(1, 1, 1)) + 0.5).clamp(0, 1), scrap))
    # Most are made of two pieces that show through each other in spots, stripes or checks.
    spots = full(normal(height // 24, width // 24))
    angle, pitch = rand(1, 1, 1) * math.pi, 4 + 16 * rand(1, 1, 1)
    rows, columns = torch.arange(height).view(1, 1, height, 1), torch.arange(width).view(1, 1, 1, width)
    stripes = torch.sin((rows * angle.sin() + columns * angle.cos()) * 2 * math.pi / pitch)
    across = torch.sin((rows * angle.cos() - columns * angle.sin()) * 2 * math.pi / pitch)
    stripes = torch.where(rand(1, 1, 1) < 0.5, stripes, stripes * across)
    spots = torch.where(rand(1, 1, 1) < 0.4, spots, stripes)
    spots = (spots * 6).clamp(0, 1) * (rand(1, 1, 1) < 0.6)
    (over, scrap), (under, other) = layers
    for cover, own in ((under, other), (over, scrap + (other - scrap) * spots)):
        # One noise for all pictures of the batch, of different strength in each.
        own = own + torch.randn(1, 3, height, width, generator=generator) * 0.025 * rand(1, 1, 1)
        out, mask = out + (own - out) * cover, torch.maximum(mask, cover)
    around = lambda x: F.avg_pool2d(F.avg_pool2d(x, 4), 3, 1, 1)
    shows = (around((out - targets).abs().mean(1, keepdim=True)) > 0.16 * around(mask)).float()
    return out, mask[:, 0], mask[:, 0] * F.interpolate(shows, scale_factor=4)[:, 0]


def distances(keys, covered, showing, memory, generator, references=1800, clean_queries=700):
    """Mean L2 distance of patches to their 3 nearest clean keys, of other pictures of the batch and `memory`.

    `keys` [B, N, C]; `covered` [B, N] is the share of each patch under scraps, `showing` that under scraps
    that show; `memory` [M, C] holds clean keys of earlier steps. Returns the distances of some
    patches; the share of each that shows a scrap; and some of the clean keys, to be remembered.
    """
    batch, count, width = keys.shape
    keys, covered, showing = keys.reshape(-1, width), covered.reshape(-1), showing.reshape(-1)
    picture = torch.arange(batch).repeat_interleave(count)
    shuffled = lambda index: index[torch.randperm(len(index), generator=generator)]
    clean = (covered == 0).nonzero().ravel()
    reference = shuffled(clean)[:references]
    scrap = shuffled(((covered > 0) & (showing > 0.5 * covered)).nonzero().ravel())[:700]
    query = torch.cat([scrap, shuffled(clean)[:clean_queries]])
    a, b = keys[query], torch.cat([keys[reference], memory])
    square = ((a * a).sum(1, keepdim=True) + (b * b).sum(1) - 2 * a @ b.T).clamp(min=1e-4)
    same = picture[query][:, None] == torch.cat([picture[reference], torch.full((len(memory),), -1)])
    square = square.masked_fill(same, 1e6)
    return square.topk(3, largest=False)[0].sqrt().mean(1), showing[query], keys[reference[:REMEMBERED]].detach()
