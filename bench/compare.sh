#!/usr/bin/env bash
# Frazil and others that do the same work, in turn on the same input: medians of CPU, wall, memory and output, and ratios.
#   compare.sh                      on generated events
#   compare.sh FILE                 on a file of the same shape: the Wikipedia sample of Apache Druid's tutorials
#   compare.sh FILE --rounds 9      more rounds; compare/append.py and the benchmark of transform say what else there is
#   compare.sh --long [FILE] ...    also Spark Structured Streaming and Kafka Connect, which need Java 17 and Maven
# The functions are built as they are released, but with symbols. Python's peers are those of the interop tests, and Polars.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

long=false
if [[ "${1:-}" == --long ]]; then
    long=true
    shift
fi
file=()
if [[ $# -gt 0 && "$1" != --* ]]; then
    file=(--file "$(realpath "$1")")
    shift
fi
environment="$(tests/venv.sh interop tests/interop/requirements.txt)"
tests/venv.sh polars bench/requirements.txt >/dev/null
cargo build --locked --profile bench --package frazil-append
"$environment/bin/python" bench/compare/append.py "${file[@]}" "$@"
# The same records as they were before transform, a megabyte or more of them.
FRAZIL_BENCH_PYTHON="$environment/bin/python" \
    cargo bench --locked --package frazil-transform --bench event -- target/compare/records.json
if $long; then
    "$environment/bin/python" bench/compare/streams.py "${file[@]}"
    bench/kafka.sh
fi
