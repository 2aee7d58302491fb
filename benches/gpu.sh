#!/usr/bin/env bash
# The CUDA search beside its peers on one GPU, in one call of a few minutes.
#
#   benches/gpu.sh [FEATURES]
#
# FEATURES (default: features/ if it is there) holds raw halves, bank*-ROWSxC.f16 and queries*-ROWSxC.f16;
# shapes without such files are timed on random Gaussian features. Every shape is first checked against the
# CPU search. The peers are timed where Python imports them: PyTorch (fp16 product + topk, and the bare cuBLAS
# product), FAISS-GPU, cuVS. PYTHON names another interpreter. Needs Rust, an NVIDIA driver and NVRTC (found also in
# .nvrtc/ and through NVRTC_DYLIB_PATH); no network, no GStreamer.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || die "cargo is not installed"
ldconfig -p 2>/dev/null | grep -q 'libcuda\.so' || [ -n "${LD_LIBRARY_PATH:-}" ] ||
    die "there is no NVIDIA driver (libcuda.so) here: this bench needs an NVIDIA GPU"
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader ||
        die "nvidia-smi shows no GPU: this bench needs one"
fi
features=${1:-features}
[ -z "${1:-}" ] || [ -d "$features" ] || die "there is no folder $features"
out=$PWD/target/bench/gpu
mkdir -p "$out"
arguments=("$out")
[ ! -d "$features" ] || arguments+=("$(cd "$features" && pwd)")

cargo bench --locked --offline --quiet --no-default-features --bench gpu -- "${arguments[@]}"
python=${PYTHON:-python3}
command -v "$python" >/dev/null || die "there is no $python for the table and the peers; ours: $out/ours.jsonl"
"$python" benches/gpu_peers.py "$out/ours.jsonl"
