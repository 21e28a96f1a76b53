#!/usr/bin/env bash
# How the cost of append and transform grows with what they are given: tables, and pictures in docs/performance/.
#   growth.sh                                   all series
#   growth.sh --only columns memory --rounds 5  some of them: commits partitions columns records objects memory
# The functions are built as they are released, but with symbols. The share of a processor that Lambda gives by memory is imposed by
# a control group of Linux, for which it must run as root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment="$(tests/venv.sh interop tests/interop/requirements.txt)"
cargo build --locked --profile bench --package frazil-append --package frazil-transform
"$environment/bin/python" bench/compare/growth.py --pictures docs/performance "$@"
