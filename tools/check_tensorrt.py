#!/usr/bin/env python3
"""Builds TensorRT for RTX engines of ONNX files, on a machine without a GPU, and says which pass.

    tools/check_tensorrt.py MODEL.onnx... [--sm 86 89] [--json FILE] [--timeout SECONDS]

Each build runs in a process of its own: a compiler that dies takes only itself. Needs PyPI's tensorrt-rtx-cu13. An engine
that is built says that the parser and the compiler take the graph; not that its numbers are right, which only a GPU tells.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time


def build(path: str, sm: int) -> dict:
    """What comes of one file for one compute capability: `ok`, `reason`, `seconds`, `megabytes`."""
    import tensorrt_rtx as trt

    complaints = []

    class Log(trt.ILogger):
        def log(self, severity, message):
            if severity <= trt.ILogger.ERROR:
                complaints.append(message)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    start = time.time()
    if not parser.parse_from_file(path):
        reason = parser.get_error(0).desc() if parser.num_errors else "the parser does not say why"
        return {"ok": False, "reason": "parser: " + reason, "seconds": time.time() - start}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)
    profile = builder.create_optimization_profile()
    for n in range(network.num_inputs):
        tensor = network.get_input(n)
        if -1 in tensor.shape:
            # A free size: the one of a frame of 640x360, in multiples of every usual patch.
            shape = [1 if axis == 0 else size for axis, size in enumerate(tensor.shape)]
            free = [axis for axis, size in enumerate(shape) if size == -1]
            for axis, size in zip(free, (336, 672)):
                shape[axis] = size
            profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    seconds = time.time() - start
    if engine is None:
        reason = complaints[-1] if complaints else "the compiler does not say why"
        return {"ok": False, "reason": "compiler: " + reason, "seconds": seconds}
    return {"ok": True, "reason": "", "seconds": seconds, "megabytes": engine.nbytes / 1e6}


def apart(path: str, sm: int, timeout: float) -> dict:
    """As `build`, in a process of its own."""
    command = [sys.executable, __file__, "--one", str(sm), path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"ok": False, "reason": f"no end after {timeout:.0f} s", "seconds": timeout}
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
    return {"ok": False, "reason": f"the compiler died ({how}): {last}", "seconds": 0.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="ONNX files")
    parser.add_argument("--sm", nargs="+", type=int, default=[86, 89], help="compute capabilities, default 86 89")
    parser.add_argument("--json", type=pathlib.Path, help="write the results as JSON, too")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one engine, default 300")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(build(args.models[0], args.one)))
        return 0
    rows = []
    for n, path in enumerate(args.models, 1):
        for sm in args.sm:
            print(f"\r{n} of {len(args.models)}: {pathlib.Path(path).name}, SM {sm}    ", end="", file=sys.stderr, flush=True)
            rows.append({"model": pathlib.Path(path).name, "sm": sm, **apart(path, sm, args.timeout)})
    print(file=sys.stderr)
    print("| model | " + " | ".join(f"SM {sm}" for sm in args.sm) + " | why not |\n|---|" + "---|" * (len(args.sm) + 1))
    for path in args.models:
        own = [row for row in rows if row["model"] == pathlib.Path(path).name]
        cells = [f"{row['megabytes']:.1f} MB, {row['seconds']:.1f} s" if row["ok"] else "no" for row in own]
        why = next((row["reason"].replace("|", "/").replace("\n", " ")[:200] for row in own if not row["ok"]), "")
        print(f"| {pathlib.Path(path).name} | " + " | ".join(cells) + f" | {why} |")
    passed = sum(row["ok"] for row in rows)
    print(f"\n{passed} of {len(rows)} engines built")
    if args.json:
        unfinished = args.json.with_name(args.json.name + ".part")
        unfinished.write_text(json.dumps(rows, indent=1) + "\n")
        os.replace(unfinished, args.json)
    return 0 if passed == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
