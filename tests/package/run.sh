#!/usr/bin/env bash
# Builds the functions as they are deployed; holds their size and their cold start against the limits; has them answer.
#   run.sh                  for this machine and for arm64
#   run.sh x86_64|arm64     for this one
# For arm64 it needs rustup and, on a machine of another kind, Debian's apt-get: it brings the emulator QEMU.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

interop="$(tests/venv.sh interop tests/interop/requirements.txt)"
export PATH="$interop/bin:$PATH"
machine="$(uname -m | sed s/aarch64/arm64/)"
package="$PWD/target/package"
mkdir -p "$package"
if [[ $# -eq 0 ]]; then
    [[ $machine == arm64 ]] && set -- arm64 || set -- "$machine" arm64
fi

for architecture in "$@"; do
    for function in transform append; do
        # As SAM's builder calls it: in the function's folder.
        (
            cd "functions/$function"
            flag="--${architecture/x86_64/x86-64}"
            cargo lambda build --release --bin "$function" "$flag" --output-format zip --lambda-dir "$package/$architecture"
        )
    done
    emulator=()
    if [[ $architecture == arm64 && $machine != arm64 ]]; then
        if [[ ! -x $package/qemu/usr/bin/qemu-aarch64-static ]]; then
            mkdir -p "$package/qemu"
            (
                cd "$package/qemu"
                apt-get download qemu-user-static libc6-arm64-cross libgcc-s1-arm64-cross
                for archive in *.deb; do dpkg-deb -x "$archive" .; done
            )
        fi
        emulator=("$package/qemu/usr/bin/qemu-aarch64-static" -L "$package/qemu/usr/aarch64-linux-gnu")
    fi
    python "$here/check.py" "$package/$architecture" "${emulator[@]}"
done
