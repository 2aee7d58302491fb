from collections.abc import Iterable
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32] | NDArray[np.float64]
Truth = NDArray[np.uint8]

class FprAt(TypedDict):
    tpr: float
    fpr: float
    threshold: float

class Detection(TypedDict):
    normal: int
    anomaly: int
    ap: float
    auroc: float
    fpr95_first: float
    fpr95_closest: float
    fpr_at: list[FprAt]
    best_f1: float
    best_f1_threshold: float

class ProPoint(TypedDict):
    fpr: float
    pro: float

class Regions(TypedDict):
    aupro: float
    limit: float
    pro_at_limit: float
    regions: int
    images: int
    curve: list[ProPoint]

class Pixels(TypedDict):
    ap: float
    fpr95: float
    best_f1: float
    threshold: float

class Components(TypedDict):
    true_components: int
    predicted_components: int
    mean_siou: float | None
    mean_ppv: float | None
    mean_f1: float | None

class Smiyc(TypedDict):
    track: str
    frames: int
    pixel: Pixels
    component: Components

__version__: str

def pooled(scores: Iterable[Scores], truth: Iterable[Truth]) -> Detection:
    """All pixels of all images in one list: AP and AUROC as scikit-learn computes them, FPR95 by both conventions.

    ValueError: shapes or types that do not fit, truth that is none of 0, 1 and 255, NaN or infinity on a pixel that counts, or
    one class alone.
    """

def regions(scores: Iterable[Scores], truth: Iterable[Truth], *, fpr_limit: float = 0.3) -> Regions:
    """AUPRO of images (H, W): the share that is found of each 8-connected anomalous region, every region counting the same, over the
    false positive rate up to `fpr_limit`, divided by it."""

def smiyc(
    scores: Iterable[Scores], truth: Iterable[Truth], *, track: Literal["anomaly", "obstacle"] = "anomaly"
) -> Smiyc:
    """SegmentMeIfYouCan's pixels and components of images (H, W); scores narrower than the truth are resized as there."""
