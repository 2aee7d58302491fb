"""The wheel against scikit-learn and SciPy, and what it says of wrong arrays."""

import pathlib
import sys

import farout_metrics
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
import metrics_reference  # noqa: E402
import metrics_reference_regions  # noqa: E402


def frames(dtype, count=6):
    made = [metrics_reference.smiyc_frame(5 + 1000 * i, 120 + 4 * i, 80, False) for i in range(count)]
    return [scores.astype(dtype) for scores, _ in made], [truth for _, truth in made]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pooled_is_what_scikit_learn_computes(dtype):
    scores, truth = frames(dtype)
    got = farout_metrics.pooled(scores, truth)
    flat, labels = np.concatenate([s.ravel() for s in scores]), np.concatenate([t.ravel() for t in truth])
    keep = labels != 255
    fpr, tpr, _ = roc_curve(labels[keep], flat[keep], drop_intermediate=False)
    assert got["ap"] == pytest.approx(average_precision_score(labels[keep], flat[keep]), abs=1e-12)
    assert got["auroc"] == pytest.approx(roc_auc_score(labels[keep], flat[keep]), abs=1e-12)
    assert got["fpr95_first"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)
    assert got["fpr95_closest"] == pytest.approx(fpr[np.argmin(np.abs(tpr - 0.95))], abs=1e-12)
    assert (got["normal"], got["anomaly"]) == (np.sum(labels == 0), np.sum(labels == 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regions_are_those_of_the_formula(dtype):
    scores, truth = frames(dtype)
    for limit in (0.05, 0.3, 1.0):
        got = farout_metrics.regions(scores, truth, fpr_limit=limit)
        want = metrics_reference_regions.pro(list(zip(scores, truth, strict=True)), limit)
        assert got["aupro"] == pytest.approx(want["aupro"], abs=1e-9)
        assert (got["regions"], got["images"]) == (want["regions"], len(scores))


@pytest.mark.parametrize("track", ["anomaly", "obstacle"])
def test_smiyc_is_the_transcription(track):
    scores, truth = frames(np.float32)
    got = farout_metrics.smiyc(iter(scores), iter(truth), track=track)
    want = metrics_reference.smiyc(list(zip(scores, truth, strict=True)), f"smiyc-{track}")
    for key in ("ap", "fpr95", "best_f1"):
        assert got["pixel"][key] == pytest.approx(want["pixel"][key], abs=1e-9)
    for key in ("mean_siou", "mean_ppv", "mean_f1"):
        assert got["component"][key] == pytest.approx(want["component"][key], abs=1e-9)


def test_one_flat_array_is_an_image_of_any_shape():
    rng = np.random.default_rng(0)
    scores, truth = rng.random((3, 4, 5), np.float32), rng.integers(0, 2, (3, 4, 5), np.uint8)
    assert farout_metrics.pooled([scores], [truth]) == farout_metrics.pooled([scores.ravel()], [truth.ravel()])
    assert farout_metrics.pooled(scores, truth) == farout_metrics.pooled([scores], [truth])


def test_arrays_are_read_where_they_lie():
    scores, truth = np.zeros((200, 200), np.float32), np.zeros((200, 200), np.uint8)
    truth[0] = 1
    scores.flags.writeable = truth.flags.writeable = False
    assert farout_metrics.pooled([scores], [truth])["anomaly"] == 200
    with pytest.raises(ValueError, match="image 0: it is not C-contiguous; pass numpy.ascontiguousarray"):
        farout_metrics.pooled([scores[:, ::2]], [truth[:, ::2]])


def test_wrong_arrays_are_named():
    good, truth = np.ones((2, 2), np.float32), np.array([[0, 1], [1, 255]], np.uint8)
    for scores, labels, error, words in [
        ([good, good.astype(np.int32)], [truth, truth], TypeError, "image 1: scores must be"),
        ([good], [truth.astype(np.int64)], TypeError, "image 0: truth must be"),
        ([good], [truth[:1]], ValueError, r"image 0: scores have the shape \[2, 2\], truth \[1, 2\]"),
        ([good], [truth * 2], ValueError, "image 0: truth holds 2"),
        ([good, good], [truth], ValueError, "equally many images, from 1 on"),
        ([good * np.nan], [truth], ValueError, "image 0: .*NaN"),
        ([good], [truth * 0], ValueError, "no anomalous or no normal"),
        ([good, good.astype(np.float64)], [truth, truth], ValueError, "image 1: .*32 and of 64 bits"),
    ]:
        with pytest.raises(error, match=words):
            farout_metrics.pooled(scores, labels)
    with pytest.raises(ValueError, match="fpr_limit is 0"):
        farout_metrics.regions([good], [truth], fpr_limit=0)
    with pytest.raises(ValueError, match=r"not \(height, width\)"):
        farout_metrics.regions([good.ravel()], [truth.ravel()])
    with pytest.raises(ValueError, match='track is "road"'):
        farout_metrics.smiyc([good], [truth], track="road")


def test_void_may_hold_anything():
    scores, truth = np.array([1, 2, np.nan, 0], np.float32), np.array([0, 1, 255, 0], np.uint8)
    assert farout_metrics.pooled([scores], [truth])["ap"] == 1.0
