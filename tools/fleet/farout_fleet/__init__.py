"""farout on many machines: the same program on many pieces of the work, placed and retried by Ray.

cli -> bank, evaluate, replay (what the pieces are) -> engine (Ray) -> worker (one piece: fetch, run, store) -> storage (fsspec).
"""
