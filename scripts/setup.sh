# Sourced by scripts/demo and scripts/test: brings what is missing on Debian 12 / Ubuntu 22.04 and
# newer. Nothing is installed twice; what is there already is left alone.
#
# setup PACKAGE...   installs the build's and the given apt packages, checks Rust, fetches ONNX Runtime

NVRTC_VERSION=12.9.86
RUST_MINIMUM=1.92

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

require_rust() {
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    command -v cargo >/dev/null || die "Rust is not installed. Install Rust $RUST_MINIMUM or newer, with https://rustup.rs or your distribution's package, and run this again."
    local found
    found=$(rustc --version | sed -E 's/^rustc ([0-9]+\.[0-9]+).*/\1/')
    if [ "$(printf '%s\n%s\n' "$RUST_MINIMUM" "$found" | sort -V | head -n 1)" != "$RUST_MINIMUM" ]; then
        die "Rust $found is older than the $RUST_MINIMUM that the crates need. Run 'rustup update stable' (rustup: https://rustup.rs) and run this again."
    fi
}

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || die "these packages are missing and there is no apt-get to install them: ${missing[*]}"
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "these packages are missing: ${missing[*]}. Install them as root: apt-get install ${missing[*]}"
        sudo=(sudo)
    fi
    say "Installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Those of the packages that this system has, under any of their names; tests that need one of the others say that they skip.
install_known() {
    local known=() package
    for package in "$@"; do
        apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]' && known+=("$package")
    done
    [ ${#known[@]} -eq 0 ] || install_packages "${known[@]}"
}

# The library out of the PyPI wheel, into a folder of the project: no Python is needed to run farout.
fetch_onnxruntime() {
    local library
    library=$(scripts/fetch-onnxruntime cpu) || die "ONNX Runtime could not be fetched"
    # Whoever has chosen a library keeps it.
    export ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$library}
}

# NVIDIA's run-time compiler out of its PyPI wheel, into a folder of the project. It needs no GPU; the
# tests compile the kernels for every architecture with it.
fetch_nvrtc() {
    local folder=.nvrtc
    if [ ! -e "$folder/libnvrtc.so.12" ]; then
        say "Fetching NVRTC $NVRTC_VERSION"
        local temporary
        mkdir -p "$folder"
        temporary=$(mktemp -d "$folder/.download-XXXXXX")
        python3 -m pip download --quiet --no-deps --only-binary=:all: -d "$temporary" \
            "nvidia-cuda-nvrtc-cu12==$NVRTC_VERSION" ||
            { rm -rf "$temporary"; die "cannot download nvidia-cuda-nvrtc-cu12 $NVRTC_VERSION; put libnvrtc.so.12 and libnvrtc-builtins.so.* into $folder by hand"; }
        python3 - "$temporary" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        file = pathlib.Path(name).name
        if "/lib/libnvrtc" in name and ".alt." not in file or file == "License.txt":
            (folder / file).write_bytes(archive.read(name))
PYTHON
        # The library last: it stands for a complete folder.
        mv "$temporary"/libnvrtc-builtins.so.* "$folder"/
        mv "$temporary"/License.txt "$folder"/ 2>/dev/null || true
        mv "$temporary"/libnvrtc.so.12 "$folder"/
        rm -rf "$temporary"
    fi
}

# What the tests of the metrics are compared with, from PyPI, into a folder of the project.
fetch_judges() {
    local folder=.judges
    if ! cmp --quiet tests/requirements.txt "$folder/complete"; then
        say "Fetching NumPy, SciPy, scikit-learn, Pillow and pytest"
        rm -rf "$folder"
        python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: --target "$folder" \
            --requirement tests/requirements.txt ||
            { rm -rf "$folder"; die "cannot install the packages of tests/requirements.txt, which the metrics are compared with"; }
        cp tests/requirements.txt "$folder/complete"
    fi
    export PYTHONPATH=$PWD/$folder${PYTHONPATH:+:$PYTHONPATH}
}

setup() {
    require_rust
    install_packages ca-certificates gcc libc6-dev libssl-dev nasm pkg-config python3 python3-pip \
        libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev \
        gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
        gstreamer1.0-libav "$@"
    fetch_onnxruntime
}
