#!/usr/bin/env bash
# What the 10th, 100th, 1,000th and 5,000th commit to a table costs, with one object in each commit and with eight.
#   history.sh                                  as FRAZIL creates tables
#   history.sh --at 10,100 --property KEY=VALUE other commits, other properties of the table
# See shared/lake/benches/history for the other arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for objects in 1 8; do
    cargo bench --quiet --package frazil-lake --bench history -- --objects "$objects" "$@"
    echo
done
