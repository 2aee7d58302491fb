#!/usr/bin/env bash
# The search bench with its peers: makes their Python environment once (some GB, since PyPI's torch brings CUDA along),
# then runs `cargo bench --bench nearest`. Options go to the bench, see benches/nearest/main.rs; FAROUT_FEATURES may
# name the folder of real features. Without network the peers that cannot be had are reported as absent.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/bench/venv
python=$venv/bin/python
[ -x "$python" ] || python3 -m venv "$venv" || { echo "no Python environment: install python3-venv" >&2; exit 1; }
while read -r package; do
    case $package in '' | '#'*) continue ;; esac
    "$python" -m pip install --quiet --disable-pip-version-check "$package" ||
        echo "benches/nearest.sh: cannot install $package; its rows will say absent" >&2
done <benches/nearest/requirements.txt
"$python" -c 'import numpy' || { echo "without numpy no peer runs" >&2; exec cargo bench --locked --bench nearest -- "$@"; }
exec cargo bench --locked --bench nearest -- --python "$PWD/$python" ${FAROUT_FEATURES:+--features "$FAROUT_FEATURES"} "$@"
