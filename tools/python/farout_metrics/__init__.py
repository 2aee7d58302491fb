"""Exact metrics of anomaly segmentation: every distinct score is a threshold, nothing is sampled.

Scores are float32 or float64 arrays, higher where stranger; truth is a uint8 array of the same shape: 0 normal, 1 anomaly, 255 void.
C-contiguous arrays are read where they lie.
"""

from ._farout_metrics import __version__, pooled, regions, smiyc

__all__ = ["__version__", "pooled", "regions", "smiyc"]
