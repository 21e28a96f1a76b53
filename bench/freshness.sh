#!/usr/bin/env bash
# How long it takes from the put of an event until a query reads its row: the stack on a stand-in for AWS on this machine, with
# the default buffers, with short ones, and without any. Takes a quarter of an hour, most of which is waiting.
#   freshness.sh              functions that cargo builds for debugging
#   freshness.sh sam          functions as they are deployed, which take long to build
# freshness.py has the presets, and says what the stand-in lacks. docs/cost.md has the figures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec tests/aws/run.sh "${1:-cargo}" bench/freshness.py
