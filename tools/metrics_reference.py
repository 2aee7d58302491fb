#!/usr/bin/env python3
"""An independent judge of score maps: scikit-learn for pooled pixels, and a NumPy/SciPy transcription of the
SegmentMeIfYouCan protocol, written from its formulas and not from farout's code.

    tools/metrics_reference.py store tests/data/metrics.json      the expected values of the tests
    tools/metrics_reference.py make DIR                           random maps of all formats and their truth
    tools/metrics_reference.py judge DIR                          what they give, as JSON
    tools/metrics_reference.py time DIR                           scikit-learn's time, for `cargo bench --bench metrics`

The maps of `store` come from splitmix64, so that the tests make the same ones without Python.
"""

import argparse
import json
from pathlib import Path

import metrics_reference_regions
import numpy as np

GAMMA = np.uint64(0x9E3779B97F4A7C15)
VOID = 255
# Above it lie predicted instances.
THRESHOLD = 2.0


def random(seed, count):
    """The first `count` numbers of splitmix64 with this state."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + GAMMA * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def pooled_case(seed, count, levels, percent):
    """Labels and scores of `count` pixels: `percent` % anomalous, 5 % void, scores with `levels` values."""
    r = random(seed, 2 * count).reshape(count, 2)
    draw = (r[:, 0] % np.uint64(100)).astype(np.int64)
    labels = np.where(draw < percent, 1, np.where(draw >= 95, VOID, 0)).astype(np.uint8)
    noise = ((r[:, 1] >> np.uint64(11)) % np.uint64(levels)).astype(np.int64)
    scores = (noise + (labels == 1) * (levels // 3)).astype(np.float32) / np.float32(64) - np.float32(3)
    return scores.astype(np.float32), labels


def smiyc_frame(seed, width, height, narrow):
    """A frame: rectangles as objects and as false regions, void, and scores on a grid of 1/16."""
    r = iter(int(v) for v in random(seed, 64))
    truth = np.zeros((height, width), np.uint8)
    shift = np.zeros((height, width), np.int64)

    def rectangle():
        w, h = 1 + next(r) % (width // 2), 1 + next(r) % (height // 2)
        x, y = next(r) % (width - w + 1), next(r) % (height - h + 1)
        return np.s_[y : y + h, x : x + w]

    kind = next(r) % 8
    objects = 0 if kind == 0 else 1 + next(r) % 4
    for _ in range(objects):
        place = rectangle()
        truth[place] = 1
        shift[place] += next(r) % 48
    for _ in range(next(r) % 3):
        shift[rectangle()] += next(r) % 40
    if objects:
        # Of one pixel, and touching another by a corner.
        truth[next(r) % height, next(r) % width] = 1
    for _ in range(next(r) % 3):
        truth[rectangle()] = VOID
    if kind == 1:
        truth[:] = VOID
    noise = (random(seed ^ 0xABCDEF, width * height) >> np.uint64(20)) % np.uint64(24)
    scores = (noise.astype(np.int64).reshape(height, width) + shift).astype(np.float32) / np.float32(16)
    if narrow:
        scores = scores[::2, ::2].copy()
    return scores, truth


def pooled(scores, labels):
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    keep = labels != VOID
    scores, labels = scores[keep], labels[keep]
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    tp, found = recall * np.sum(labels), np.maximum(precision, 1e-300)
    f1 = (2 * tp / (tp / found + np.sum(labels)))[:-1]
    best = np.flatnonzero(f1 >= f1.max() * (1 - 1e-12))[-1]
    return {
        "ap": average_precision_score(labels, scores),
        "auroc": roc_auc_score(labels, scores),
        "fpr95_first": fpr[np.argmax(tpr >= 0.95)],
        "fpr95_closest": fpr[np.argmin(np.abs(tpr - 0.95))],
        "fpr_at": [[level, fpr[np.argmax(tpr >= level)]] for level in (0.5, 0.8, 0.9, 0.95, 0.99, 1.0)],
        "best_f1": f1[best],
        "best_f1_threshold": float(thresholds[best]),
        "normal": int(np.sum(labels == 0)),
        "anomaly": int(np.sum(labels == 1)),
    }


def enlarged(scores, width, height):
    """Bilinear, pixel centres at halves, the outermost values beyond the edges."""

    def places(cells, pixels):
        at = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, cells - 1), at - low

    top, bottom, fy = places(scores.shape[0], height)
    left, right, fx = places(scores.shape[1], width)
    s = scores.astype(np.float64)
    upper = s[top][:, left] * (1 - fx) + s[top][:, right] * fx
    lower = s[bottom][:, left] * (1 - fx) + s[bottom][:, right] * fx
    return (upper * (1 - fy)[:, None] + lower * fy[:, None]).astype(np.float32)


def smiyc_pixel(frames):
    """Bins at quantiles of each frame, pooled over the frames."""
    thresholds, tps, fps = [], [], []
    for scores, truth in frames:
        roi = truth != VOID
        positive, negative = (scores[truth == label].astype(np.float64) for label in (1, 0))
        inside = scores[roi].astype(np.float64)
        if inside.size == 0:
            continue
        margin = max(0.01 * (inside.max() - inside.min()), 0.01)
        edges = [np.array([inside.min() - margin, inside.max() + margin])]
        for values in (positive, negative):
            if values.size:
                edges.append(np.quantile(values, np.linspace(0, 1, min(384, values.size))))
        edges = np.unique(np.concatenate(edges))
        tps.append(np.histogram(positive, edges)[0])
        fps.append(np.histogram(negative, edges)[0])
        thresholds.append(edges[:-1])
    thresholds, tps, fps = (np.concatenate(parts) for parts in (thresholds, tps, fps))
    order = np.argsort(-thresholds, kind="stable")
    thresholds, tps, fps = thresholds[order], np.cumsum(tps[order]), np.cumsum(fps[order])
    last = np.append(thresholds[1:] != thresholds[:-1], True)
    thresholds, tps, fps = thresholds[last], tps[last], fps[last]
    positives, negatives = tps[-1], fps[-1]
    recall = np.concatenate([[0.0], tps / positives])
    precision = np.concatenate([[1.0], tps / (tps + fps)])
    f1 = 2 * tps / (tps + fps + positives)
    return {
        "ap": float(np.sum(np.diff(recall) * precision[1:])),
        "fpr95": float(fps[np.argmax(tps / positives >= 0.95)] / negatives),
        "best_f1": float(f1.max()),
        "threshold": float(thresholds[np.argmax(f1)]),
    }


def smiyc_component(frames, threshold, least_predicted, least_true):
    from scipy.ndimage import label

    eight = np.ones((3, 3), int)
    siou, ppv = [], []
    for scores, truth in frames:
        predicted, count = label((scores.astype(np.float64) > threshold) & (truth != VOID), eight)
        for p in range(1, count + 1):
            if np.sum(predicted == p) < least_predicted:
                predicted[predicted == p] = 0
        real, count = label(truth == 1, eight)
        roi = truth != VOID
        for g in range(1, count + 1):
            if np.sum(real == g) < least_true:
                roi &= real != g
        predicted, real = np.where(roi, predicted, 0), np.where(roi, real, 0)
        for g in np.unique(real[real > 0]):
            own = real == g
            union = np.isin(predicted, np.unique(predicted[own & (predicted > 0)]))
            common = np.sum(union & own)
            elsewhere = np.sum(union & (real > 0) & ~own)
            siou.append(common / (np.sum(union) + np.sum(own) - common - elsewhere))
        for p in np.unique(predicted[predicted > 0]):
            own = predicted == p
            ppv.append(np.sum(own & (real > 0)) / np.sum(own))
    siou, ppv = np.array(siou), np.array(ppv)
    rows = []
    for t in np.linspace(0.25, 0.75, 11):
        tp, fn, fp = np.sum(siou >= t), np.sum(siou < t), np.sum(ppv < t)
        rows.append([int(tp), int(fn), int(fp), float(2 * tp / (2 * tp + fn + fp)) if tp + fn + fp else None])
    return {
        "true_components": len(siou),
        "predicted_components": len(ppv),
        "mean_siou": float(np.mean(siou)) if siou.size else None,
        "mean_ppv": float(np.mean(ppv)) if ppv.size else None,
        "mean_f1": float(np.mean([row[3] for row in rows])) if siou.size + ppv.size else None,
        "f1_at": rows,
    }


def smiyc(frames, track):
    frames = [(scores.astype(np.float16).astype(np.float32), truth) for scores, truth in frames]
    frames = [
        (enlarged(s, t.shape[1], t.shape[0]) if s.shape[1] < t.shape[1] else s, t) for s, t in frames
    ]
    sizes = {"smiyc-anomaly": (500, 100), "smiyc-obstacle": (50, 10)}[track]
    pixel = smiyc_pixel(frames)
    return {"pixel": pixel, "component": smiyc_component(frames, pixel["threshold"], *sizes)}


def store(path):
    cases = {"pooled": [], "smiyc": []}
    for seed, (count, levels, percent) in enumerate(
        [(2000, 3, 10), (20000, 100, 1), (20000, 5000, 30), (5000, 1 << 20, 50), (300, 50, 2), (30000, 700, 5)]
    ):
        case = {"seed": seed, "count": count, "levels": levels, "percent": percent}
        cases["pooled"].append({**case, **pooled(*pooled_case(seed, count, levels, percent))})
    for seed in range(0, 24):
        track = ("smiyc-anomaly", "smiyc-obstacle")[seed % 2]
        width, height, count = 96 + 2 * (seed % 5), 64 + 2 * (seed % 3), 2 + seed % 4
        frames = [smiyc_frame(1000 * seed + i, width, height, i % 3 == 2) for i in range(count)]
        if not any((truth == 1).any() for _, truth in frames):
            continue
        case = {"seed": seed, "track": track, "width": width, "height": height, "frames": count}
        cases["smiyc"].append({**case, **smiyc(frames, track)})
    Path(path).write_text(json.dumps(cases, indent=1) + "\n")


def files(number):
    """The number formats and orders in which maps are written, in turn."""
    return [("<f4", "C"), (">f4", "C"), ("<f4", "F"), ("<f2", "C"), (">f2", "F"), ("<f4", "C")][number % 6]


def make(folder):
    from PIL import Image

    for name, wide in (("narrow", False), ("wide", True)):
        for part in ("scores", "truth"):
            (folder / name / part).mkdir(parents=True, exist_ok=True)
        for i in range(7):
            scores, truth = smiyc_frame(77 + 1000 * i, 140 + 2 * i, 90, False)
            # Void hides what is no number.
            scores[truth == VOID] = np.nan
            dtype, order = files(i)
            if wide and i % 2:
                dtype = dtype[0] + "f8"
                scores = scores.astype(np.float64) * (1 + 1e-12 * np.arange(scores.size).reshape(scores.shape))
            np.save(folder / name / "scores" / f"map{i}.npy", np.array(scores, dtype=dtype, order=order))
            Image.fromarray(truth).save(folder / name / "truth" / f"map{i}_labels_semantic.png")


def judge(folder):
    from PIL import Image

    results = {}
    for name in ("narrow", "wide"):
        frames = []
        for path in sorted((folder / name / "scores").glob("*.npy")):
            truth = np.array(Image.open(folder / name / "truth" / f"{path.stem}_labels_semantic.png"))
            frames.append((np.load(path), truth))
        dtype = np.float64 if name == "wide" else np.float32
        flat = [(s.astype(dtype).ravel(), t.ravel()) for s, t in frames]
        both = [pooled(s, t) for s, t in flat if (t == 1).any() and (t == 0).any()]
        keys = ("ap", "auroc", "fpr95_first", "fpr95_closest", "best_f1")
        results[name] = {
            "pooled": pooled(np.concatenate([s for s, _ in flat]), np.concatenate([t for _, t in flat])),
            "per-image": {"images": len(both), **{key: float(np.mean([b[key] for b in both])) for key in keys}},
            "smiyc-anomaly": smiyc(frames, "smiyc-anomaly"),
            "smiyc-obstacle": smiyc(frames, "smiyc-obstacle"),
            **metrics_reference_regions.judge([(s.astype(dtype), t) for s, t in frames], THRESHOLD),
        }
    return results


def timed(folder):
    from time import perf_counter

    from sklearn.metrics import average_precision_score, roc_curve

    scores = np.fromfile(folder / "scores", np.float32)
    labels = np.fromfile(folder / "labels", np.uint8)
    start = perf_counter()
    ap = average_precision_score(labels, scores)
    between = perf_counter()
    fpr, tpr, _ = roc_curve(labels, scores)
    end = perf_counter()
    # The FPR at the first threshold is that of the whole curve, which costs another sort: not timed.
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {
        "seconds": end - start,
        "average_precision_seconds": between - start,
        "roc_curve_seconds": end - between,
        "ap": float(ap),
        "fpr95": float(fpr[np.argmax(tpr >= 0.95)]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("store", "make", "judge", "time"))
    parser.add_argument("path", type=Path)
    given = parser.parse_args()
    if given.what == "store":
        store(given.path)
    elif given.what == "make":
        make(given.path)
    else:
        print(json.dumps(judge(given.path) if given.what == "judge" else timed(given.path)))


if __name__ == "__main__":
    main()
