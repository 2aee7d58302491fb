#!/usr/bin/env bash
# How fast and how fresh live pictures and verdicts are, seen by a real client: an RTSP camera of 1280x720 at 25 frames per
# second (examples/rtsp_camera.rs: a file as it is), farout beside it, ffprobe as viewer. Compares, in one run:
#   scored   one chain: only judged pictures are shown
#   alone    what the model reaches in a process of its own at lower priority, while another shows all pictures unjudged
#   live     two lanes
#   no-nice  two lanes, all threads of one priority
#   two      live, two such cameras: what the worse of two viewers gets, and the verdicts of both together
#
#   benches/live.sh CONFIG [SECONDS] [JSON]      (default: configs/demo.toml, 20 seconds each)
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:-configs/demo.toml}
seconds=${2:-20}
json=${3:-}
farout=${FAROUT:-target/release/farout}
camera_port=${CAMERA_PORT:-18554} port=${PORT:-18555}
work=$(mktemp -d)
children=()
trap 'kill "${children[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

camera=${CAMERA:-target/release/examples/rtsp_camera}
if [ ! -x "$camera" ] || [ ! -x "$farout" ]; then
    cargo build --release --locked --quiet --bin farout --example rtsp_camera
fi
# The drive, once, as a camera encodes it: key pictures every second, nothing reordered.
"$farout" -q replay "synthetic:width=1280,height=720,fps=25,frames=$(((seconds + 12) * 25))" --bypass \
    --frames-out "$work/frames" >/dev/null
ffmpeg -v error -framerate 25 -pattern_type glob -i "$work/frames/*.png" -c:v libx264 -preset veryfast -bf 0 -g 25 \
    -b:v 4M -pix_fmt yuv420p "$work/drive.mp4"
rm -rf "$work/frames"
"$camera" "$work/drive.mp4" "$camera_port" >/dev/null &
children+=($!)
sleep 1

# The configuration with one key changed; relative paths stay what they are, beside the original.
variant() {
    local out
    out="$(dirname "$config")/.live-$1-$$.toml"
    python3 - "$config" "$out" "$2" <<'PYTHON'
import re, sys
text, (section, line) = open(sys.argv[1]).read(), sys.argv[3].split(":", 1)
if section == "stream":
    text = re.sub(r"(?ms)^\[\[stream\]\].*?(?=^\[(?!stream\.)|\Z)", "", text)
    for name in ["front", "rear"]:
        text += f'\n[[stream]]\nname = "{name}"\n{line}\n'
    open(sys.argv[2], "w").write(text)
    sys.exit()
key = line.split("=")[0].strip()
text = re.sub(rf"(?m)^{key} *=.*\n", "", text)
if f"[{section}]" not in text:
    text += f"\n[{section}]\n"
open(sys.argv[2], "w").write(text.replace(f"[{section}]", f"[{section}]\n{line}", 1))
PYTHON
    printf '%s' "$out"
}

# What a viewer of /$1 gets in that time, into file $2.
view() {
    timeout $((seconds + 15)) ffprobe -v error -rtsp_transport tcp -read_intervals "%+$seconds" -show_entries \
        packet=pts_time -of csv=p=0 "rtsp://127.0.0.1:$port/$1" >"$work/$2.packets" || true
}

# Runs a daemon with the further flags, and a viewer; of two streams without a source given there are two.
measure() {
    local name=$1 file=$2 viewers=() span=$((seconds + 4))
    shift 2
    # The pictures outlast the model, which first finishes what it has begun: else it has the cores to itself at the end.
    if [ "$name" = alone ]; then span=3600; fi
    "$farout" -q run -c "$file" "$@" --http off --rtsp "rtsp://127.0.0.1:$port/farout" \
        --seconds "$span" --json >"$work/$name.out" &
    local daemon=$!
    children+=("$daemon")
    sleep 4
    if [ "$name" = two ]; then
        view front two-front &
        viewers+=($!)
        view rear two-rear &
        viewers+=($!)
        wait "${viewers[@]}"
    else
        view farout "$name"
    fi
    if [ "$name" = alone ]; then
        wait "$model" || true
        kill "$daemon"
    fi
    wait "$daemon" || true
    rm -f "$file"
}

watched=(--source "rtsp://127.0.0.1:$camera_port/camera")
measure scored "$(variant scored 'output:picture = "scored"')" "${watched[@]}"
alone=$(variant alone 'output:picture = "scored"')
nice -n 10 "$farout" -q run -c "$alone" --source "$work/drive.mp4" --loop --fast --rtsp off --http off \
    --seconds $((seconds + 4)) --json >"$work/model.out" &
model=$!
children+=("$model")
measure alone "$(variant bypass 'output:picture = "live"')" --bypass "${watched[@]}"
rm -f "$alone"
measure live "$(variant live 'output:picture = "live"')" "${watched[@]}"
measure no-nice "$(variant no-nice 'flow:detection_nice = 0')" "${watched[@]}"
measure two "$(variant two "stream:source = \"rtsp://127.0.0.1:$camera_port/camera\"")"

python3 - "$work" "$json" <<'PYTHON'
import json, os, sys
work, out = sys.argv[1:]
rows = []


def seen(name):
    """Pictures per second of a viewer, and its longest gap in seconds."""
    lines = (line.strip().strip(",") for line in open(f"{work}/{name}.packets"))
    times = sorted(float(t) for t in lines if t and t != "N/A")
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    return (len(times) - 1) / span if span else 0.0, max((b - a for a, b in zip(times, times[1:])), default=0.0)


for name in ["scored", "alone", "live", "no-nice", "two"]:
    told = json.loads(open(f"{work}/{name}.out").read().splitlines()[-1])
    viewers = [seen(one) for one in (["two-front", "two-rear"] if name == "two" else [name])]
    verdicts = told.get("verdicts") or told
    if name == "alone":
        verdicts = json.loads(open(f"{work}/model.out").read().splitlines()[-1])
    rows.append({
        "way": name,
        "client_fps": min(fps for fps, _ in viewers),
        "longest_gap_ms": max(gap for _, gap in viewers) * 1e3,
        "picture_p50_ms": told["p50_ms"],
        "picture_p95_ms": told["p95_ms"],
        "verdicts_per_second": verdicts["fps"],
        "verdict_age_p50_ms": verdicts["p50_ms"],
        "verdict_age_p95_ms": verdicts["p95_ms"],
    })
base = rows[1]["verdicts_per_second"]
print(f"{'':8} {'client fps':>10} {'gap ms':>7} {'p50 ms':>7} {'p95 ms':>7} {'verdicts/s':>10} {'of alone':>9} {'age p50':>8} {'age p95':>8}")
for row in rows:
    row["verdicts_of_alone"] = row["verdicts_per_second"] / base if base else 0.0
    print(f"{row['way']:8} {row['client_fps']:10.1f} {row['longest_gap_ms']:7.0f} {row['picture_p50_ms']:7.1f} {row['picture_p95_ms']:7.1f} "
          f"{row['verdicts_per_second']:10.2f} {row['verdicts_of_alone']:9.2f} {row['verdict_age_p50_ms']:8.0f} {row['verdict_age_p95_ms']:8.0f}")
if out:
    with open(out, "w") as file:
        json.dump({"cores": os.cpu_count(), "ways": rows}, file, indent=1)
PYTHON
