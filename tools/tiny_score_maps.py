"""Score maps as other programs write them, for the tests: python3 tools/tiny_score_maps.py (needs h5py, numpy, tifffile).

`first` is a map of 2 rows and 3 columns, `second` the same back to front.
"""

import pathlib

import h5py
import numpy as np
import tifffile

OUT = pathlib.Path(__file__).parent.parent / "tests" / "data" / "score-maps"
FIRST = np.array([[0.5, -1.25, 2.0], [100.0, -0.0, 3.5]])
SECOND = FIRST[::-1, ::-1]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    # One per picture, as SegmentMeIfYouCan's toolkit writes it, beside another data set.
    with h5py.File(OUT / "first.hdf5", "w") as file:
        file.create_dataset("value", data=FIRST.astype("float16"), compression=9, chunks=(1, 2))
        file.create_dataset("seconds", data=0.25)
    # All pictures in one file.
    with h5py.File(OUT / "both.hdf5", "w", libver="latest") as file:
        file["first"], file["second"] = FIRST, SECOND
    np.savez(OUT / "first.npz", FIRST.astype("float32"))
    np.savez_compressed(OUT / "both.npz", first=FIRST, second=SECOND)
    np.save(OUT / "both.npy", np.stack([FIRST, SECOND])[:, None].astype("float32"))
    tifffile.imwrite(OUT / "first.tif", FIRST.astype("float32"), compression="zlib")
    tifffile.imwrite(OUT / "wide.tif", FIRST, byteorder=">")
    tifffile.imwrite(OUT / "half.tif", FIRST.astype("float16"))


main()
