"""NumPy and SciPy transcriptions of what `farout metrics` judges by region, by instance and by risk, from the formulas of their
papers; for tools/metrics_reference.py. Frames are (scores, truth); VOID pixels do not count."""

import numpy as np

VOID = 255
EIGHT = np.ones((3, 3), int)


def regions(truth):
    from scipy.ndimage import label

    numbers, count = label(truth == 1, EIGHT)
    return [numbers == n for n in range(1, count + 1)]


def share(scores, thresholds):
    """Share of `scores` that is at least each threshold."""
    ordered = np.sort(scores)
    return 1 - np.searchsorted(ordered, thresholds, "left") / len(ordered)


def pro(frames, limit):
    """Area under the mean overlap of regions over the false positive rate, up to `limit`, over `limit`."""
    own = [scores[region] for scores, truth in frames for region in regions(truth)]
    normal = np.concatenate([scores[truth == 0] for scores, truth in frames])
    thresholds = np.unique(np.concatenate([*own, normal]))[::-1]
    x = np.concatenate([[0.0], share(normal, thresholds)])
    y = np.concatenate([[0.0], np.mean([share(scores, thresholds) for scores in own], axis=0)])
    end = np.searchsorted(x, limit, "right")
    at_limit = y[-1]
    if end < len(x):
        at_limit = y[end - 1] + (y[end] - y[end - 1]) * (limit - x[end - 1]) / (x[end] - x[end - 1])
    x, y = np.append(x[:end], min(limit, x[-1])), np.append(y[:end], at_limit)
    return {"aupro": float(np.trapezoid(y, x) / limit), "pro_at_limit": float(at_limit), "regions": len(own)}


def pimo(frames, low, high):
    """At each shared false positive rate the best true positive rate that keeps to it, over the logarithm of the rate."""
    normal = [scores[truth == 0] for scores, truth in frames if not (truth == 1).any() and (truth == 0).any()]
    thresholds = np.unique(np.concatenate(normal))[::-1]
    rates = np.concatenate([[0.0], np.mean([share(scores, thresholds) for scores in normal], axis=0)])
    ends = np.append(rates[1:], np.inf)
    # From the rate of a threshold on, until the next one's, all that lies above the next one is found.
    below = np.append(thresholds, -np.inf)
    values = []
    for scores, truth in frames:
        if (truth == 1).any():
            own = np.sort(scores[truth == 1])
            found = 1 - np.searchsorted(own, below, "right") / len(own)
            a, b = np.clip(rates, low, high), np.clip(ends, low, high)
            values.append(np.sum(found * (np.log(b) - np.log(a))) / np.log(high / low))
    return {"mean": float(np.mean(values)), "median": float(np.median(values)), "normal_images": len(normal)}


def risk(scores, labels):
    """Area under the share of anomaly among what passes, over the share that passes, ties passing together."""
    _, tied = np.unique(scores, return_inverse=True)
    passing = np.cumsum(np.bincount(tied))
    missed = np.cumsum(np.bincount(tied, weights=labels == 1))
    count, anomaly = len(scores), int(np.sum(labels == 1))
    best = np.concatenate([np.zeros(count - anomaly), np.arange(1, anomaly + 1)]) / np.arange(1, count + 1)
    return {"aurc": float(np.sum(np.bincount(tied) * missed / passing) / count), "best": float(np.mean(best))}


def conventions(scores, labels):
    from sklearn.metrics import auc, precision_recall_curve, roc_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    at = np.argmax(tpr >= 0.95)
    between = np.interp(0.95, tpr[at - 1 : at + 1], fpr[at - 1 : at + 1])
    return {"ap_by_lines": float(auc(recall, precision)), "fpr95_between": float(between)}


def instance_ap(frames, threshold, iou, least=10):
    """Cityscapes' average precision at one IoU: regions above the threshold against true regions."""
    from scipy.ndimage import label

    sure, right, missed = [], [], 0
    for scores, truth in frames:
        numbers, count = label((scores > threshold) & (truth != VOID), EIGHT)
        predicted = [(numbers == n, float(np.mean(scores[numbers == n].astype(np.float64)))) for n in range(1, count + 1)]
        true = regions(truth)
        over = np.array([[np.sum(p & t) / np.sum(p | t) for t in true] for p, _ in predicted]).reshape(len(predicted), len(true))
        for t, region in enumerate(true):
            if np.sum(region) < least:
                continue
            of = sorted((predicted[p][1] for p in range(len(predicted)) if over[p, t] > iou), reverse=True)
            missed += not of
            sure += of
            right += [1] + [0] * (len(of) - 1) if of else []
        for p, (mask, confidence) in enumerate(predicted):
            small = sum(np.sum(mask & region) for region in true if np.sum(region) < least)
            if not (over[p] > iou).any() and small / np.sum(mask) <= iou:
                sure.append(confidence)
                right.append(0)
    sure, right = np.array(sure), np.array(right)
    real = right.sum() + missed
    # From all predictions to none, and an artificial point of precision 1.
    points = [(right[sure >= s].sum() / real, right[sure >= s].mean()) for s in np.unique(sure)] + [(0.0, 1.0)]
    recall, precision = np.array(points).T
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(np.sum(precision * (padded[:-2] - padded[2:]) / 2))


def judge(frames, threshold):
    """All of it; `frames` in the format of their files."""
    keep = [(scores[truth != VOID], truth[truth != VOID]) for scores, truth in frames]
    flat, labels = (np.concatenate(parts) for parts in zip(*keep, strict=True))
    levels = [0.5 + i * 0.05 for i in range(10)]
    instances = [instance_ap(frames, threshold, iou) for iou in levels]
    return {
        "pro": pro(frames, 0.3),
        "pimo": pimo(frames, 1e-3, 1e-1),
        "risk": risk(flat, labels),
        "conventions": conventions(flat, labels),
        "instances": {"ap": float(np.mean(instances)), "ap50": instances[0]},
    }
