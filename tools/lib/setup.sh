# shellcheck shell=bash
# What tools/demo, tools/test and .ci/run share: each thing they need is looked for, and installed or named if absent.
# Source it; it works from any folder and leaves the shell in the root of the repository.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1

# Lavapipe, Mesa's software Vulkan driver, complains about a missing runtime folder on every start.
if [ "$(uname -s)" = Linux ] && [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Rust, at least the version that Cargo.toml names, and a linker.
need_rust() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    command -v cargo >/dev/null || die "cargo is missing: install Rust $wanted or later from https://rustup.rs, then run this again"
    have=$(cargo --version | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
    if [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
        die "Rust $have is too old, $wanted or later is needed: run \"rustup update stable\", or install it from https://rustup.rs"
    fi
    if [ "$(uname -s)" = Linux ] && ! command -v cc >/dev/null; then
        provide linker "no C compiler \"cc\" (Rust links with it)"
    fi
}

# Asks the program whether it can open a GPU. Without one, Linux gets Mesa's software driver; nobody else needs it.
# $1: the built program. A real GPU is left alone: then nothing is installed.
need_adapter() {
    local answer
    answer=$("$1" info 2>&1) && return
    # A driver does not help where a certain adapter was asked for, nor where the system brings its own.
    if [ "$(uname -s)" != Linux ] || [ -n "${LANCET_ADAPTER:-}" ]; then
        die "${answer#error: }"
    fi
    provide vulkan "no usable GPU adapter"
    answer=$("$1" info 2>&1) || die "the software driver is installed, but there is still no adapter: ${answer#error: }"
}

# Installs what the system's package manager calls $1 (linker or vulkan), or says how. $2: why.
provide() {
    local manager="" command
    for manager in apt-get dnf pacman apk zypper none; do
        command -v "$manager" >/dev/null && break
    done
    case $manager in
        apt-get) command="apt-get install -y --no-install-recommends" ;;
        dnf) command="dnf install -y" ;;
        pacman) command="pacman -Sy --needed --noconfirm" ;;
        apk) command="apk add" ;;
        zypper) command="zypper --non-interactive install" ;;
        *) command="" ;;
    esac
    case $1:$manager in
        vulkan:apt-get) command+=" mesa-vulkan-drivers libvulkan1" ;;
        vulkan:dnf) command+=" mesa-vulkan-drivers vulkan-loader" ;;
        vulkan:pacman) command+=" vulkan-swrast vulkan-icd-loader" ;;
        vulkan:apk) command+=" mesa-vulkan-swrast vulkan-loader" ;;
        vulkan:zypper) command+=" libvulkan_lvp libvulkan1" ;;
        vulkan:*) die "$2: install Mesa's software Vulkan driver (lavapipe) and the Vulkan loader" ;;
        linker:apt-get) command+=" gcc libc6-dev" ;;
        linker:apk) command+=" gcc musl-dev" ;;
        linker:dnf | linker:pacman | linker:zypper) command+=" gcc" ;;
        linker:*) die "$2: install gcc or clang" ;;
    esac

    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        if ! { command -v sudo && sudo -n true; } >/dev/null 2>&1; then
            [ "$manager" != apt-get ] || command="apt-get update && sudo $command"
            die "$2. Run this, then try again:  sudo $command"
        fi
        as_root=(sudo -n)
    fi
    say "$2; installing with the system's package manager: $command"
    # Progress belongs on the screen, but stdout is the caller's.
    if [ "$manager" = apt-get ]; then
        "${as_root[@]}" apt-get update -qq >&2 || die "apt-get update failed (see above)"
        as_root+=(env DEBIAN_FRONTEND=noninteractive)
    fi
    # shellcheck disable=SC2086 # words of a command
    "${as_root[@]}" $command >&2 </dev/null || die "could not install (see above): $command"
}

# Where cargo puts release builds, whatever CARGO_TARGET_DIR or a cargo config says.
release_folder() {
    cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1\/release/p' | sed 's/\\\\/\//g'
}
