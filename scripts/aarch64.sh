# Sourced by scripts/package and scripts/test-aarch64: a compiler, the libraries and an emulator for AArch64, on an x86-64 Debian
# machine. All come from Debian's packages (some 500 MB), which are unpacked below target/aarch64 and not installed.
#
# fetch_aarch64   brings what is missing
# use_aarch64     sets the environment for cargo --target aarch64-unknown-linux-gnu

aarch64_base=$PWD/target/aarch64
aarch64_tools=$aarch64_base/tools
# What is linked with: Debian 12, glibc 2.36, GStreamer 1.22.
aarch64_root=$aarch64_base/root

# An apt of its own below $1, for architecture $2, which knows of no installed package.
aarch64_apt() {
    mkdir -p "$1/state/lists/partial" "$1/cache/archives/partial" "$1/packages"
    : > "$1/status"
    cat > "$1/apt.conf" <<CONF
APT::Architecture "$2";
APT::Architectures { "$2"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::State "$1/state";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
CONF
}

fetch_aarch64() {
    [ "$(uname -m)" = x86_64 ] || { echo "this machine is no x86-64: build there as usual" >&2; return 1; }
    if [ ! -e "$aarch64_tools/complete" ]; then
        echo "fetching the cross compiler and QEMU ..." >&2
        rm -rf "$aarch64_tools" "$aarch64_base/apt"
        mkdir -p "$aarch64_tools"
        aarch64_apt "$aarch64_base/apt" amd64
        (
            export APT_CONFIG=$aarch64_base/apt/apt.conf
            echo 'APT::Architectures { "amd64"; "arm64"; };' >> "$APT_CONFIG"
            apt-get update -qq
            # The library's package is named after the compiler's version.
            version=$(apt-cache show rustc-web | sed -n 's/^Version: //p' | sort -V | tail -1)
            std=libstd-rust-web-$(echo "$version" | cut -d. -f1,2)
            llvm=$(apt-cache depends "$std:amd64" | sed -n 's/.*Depends: \(libllvm[^ ]*\).*/\1/p')
            cd "$aarch64_base/apt/packages"
            apt-get download -qq "rustc-web=$version" \
                "libstd-rust-web-dev:amd64=$version" "$std:amd64=$version" \
                "libstd-rust-web-dev:arm64=$version" "$std:arm64=$version" "$llvm:amd64" \
                gcc-12-aarch64-linux-gnu cpp-12-aarch64-linux-gnu binutils-aarch64-linux-gnu \
                libgcc-12-dev-arm64-cross libgcc-s1-arm64-cross qemu-user-static
            for package in *.deb; do dpkg-deb -x "$package" "$aarch64_tools"; done
        ) || return 1
        rm -rf "$aarch64_base/apt"
        touch "$aarch64_tools/complete"
    fi
    if [ ! -e "$aarch64_root/complete" ]; then
        echo "fetching the libraries for AArch64 ..." >&2
        rm -rf "$aarch64_root" "$aarch64_base/apt"
        mkdir -p "$aarch64_root"
        aarch64_apt "$aarch64_base/apt" arm64
        (
            export APT_CONFIG=$aarch64_base/apt/apt.conf
            apt-get update -qq
            apt-get install -y -qq --download-only libc6-dev libgcc-12-dev libssl-dev \
                libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev \
                gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav > /dev/null
            for package in "$aarch64_base"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$aarch64_root"; done
        ) || return 1
        rm -rf "$aarch64_base/apt"
        touch "$aarch64_root/complete"
    fi
}

use_aarch64() {
    local triple=AARCH64_UNKNOWN_LINUX_GNU libraries=$aarch64_root/usr/lib/aarch64-linux-gnu
    export PATH=$aarch64_tools/usr/bin:$PATH
    export LD_LIBRARY_PATH=$aarch64_tools/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export RUSTC=$aarch64_tools/usr/bin/rustc
    "$RUSTC" --version >&2
    export "CARGO_TARGET_${triple}_LINKER=$aarch64_tools/usr/bin/aarch64-linux-gnu-gcc-12"
    export "CARGO_TARGET_${triple}_RUSTFLAGS=-C link-arg=--sysroot=$aarch64_root -C link-arg=-B$libraries -C link-arg=-L$libraries -C link-arg=-Wl,-rpath-link,$libraries -C link-arg=-Wl,-rpath-link,$aarch64_root/lib/aarch64-linux-gnu"
    # The crates that bring C code along compile it for the same.
    export CC_aarch64_unknown_linux_gnu=$aarch64_tools/usr/bin/aarch64-linux-gnu-gcc-12
    export AR_aarch64_unknown_linux_gnu=$aarch64_tools/usr/bin/aarch64-linux-gnu-ar
    export CFLAGS_aarch64_unknown_linux_gnu="--sysroot=$aarch64_root -B$aarch64_tools/usr/bin/aarch64-linux-gnu-"
    # And pkg-config tells of the libraries there.
    export PKG_CONFIG_ALLOW_CROSS=1
    export PKG_CONFIG_SYSROOT_DIR_aarch64_unknown_linux_gnu=$aarch64_root
    export PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu=$libraries/pkgconfig:$aarch64_root/usr/share/pkgconfig
    # Cortex-A76 has the dot product.
    export "CARGO_TARGET_${triple}_RUNNER=$aarch64_tools/usr/bin/qemu-aarch64-static -cpu max -L $aarch64_root"
}
