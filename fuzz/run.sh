#!/usr/bin/env bash
# Runs fuzz targets, each for a given time, and fails on a finding: fuzz/run.sh [SECONDS [TARGET...]]
#
# 600 seconds and all targets unless told otherwise. Needs rustup and a C++ compiler; installs a pinned nightly toolchain
# and cargo-fuzz if they are missing. The corpus grows under fuzz/target/corpus; what makes a finding is left under
# fuzz/artifacts. Once it is fixed, the smallest input that shows it belongs into fuzz/corpus/TARGET:
#
#     cargo +nightly-2026-05-20 fuzz tmin TARGET fuzz/artifacts/TARGET/crash-...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

TOOLCHAIN=nightly-2026-05-20
CARGO_FUZZ=0.13.2

seconds=${1:-600}
targets=("${@:2}")
if ((${#targets[@]} == 0)); then
    targets=(frame offer decompress splice decode envelope)
fi

if ! rustup run "$TOOLCHAIN" rustc --version >/dev/null 2>&1; then
    rustup toolchain install "$TOOLCHAIN" --profile minimal
fi
export PATH="$PWD/target/tools/bin:$PATH"
if [[ "$(cargo fuzz --version 2>/dev/null)" != "cargo-fuzz $CARGO_FUZZ" ]]; then
    cargo install cargo-fuzz --version "$CARGO_FUZZ" --locked --root target/tools
fi

# What the sanitizer holds back of freed memory is not the code's.
export ASAN_OPTIONS="quarantine_size_mb=16${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

for target in "${targets[@]}"; do
    # Memory in MiB: of the process, and of one allocation. A decompressor may hold a window or a chunk of 64 to 128.
    case "$target" in
        decompress) limits=(-max_len=4096 -rss_limit_mb=1024 -malloc_limit_mb=160) ;;
        envelope) limits=(-max_len=16384 -rss_limit_mb=1024 -malloc_limit_mb=64 -dict=json.dict) ;;
        *) limits=(-max_len=4096 -rss_limit_mb=1024 -malloc_limit_mb=64 -dict=json.dict) ;;
    esac
    printf '\n== %s, %s s\n' "$target" "$seconds"
    mkdir -p "target/corpus/$target"
    cargo "+$TOOLCHAIN" fuzz run --fuzz-dir . "$target" "target/corpus/$target" "corpus/$target" -- \
        "${limits[@]}" -timeout=10 -max_total_time="$seconds" -print_final_stats=1
done
