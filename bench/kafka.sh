#!/usr/bin/env bash
# Rows per CPU second from a topic to a table: `frazil kafka` beside the Iceberg sink of Kafka Connect, on one broker, one
# topic and tables of one definition. Needs Java 17 and Maven, as tests/interop does.
#   kafka.sh [--rows 235000] [--partitions 4] [--runs 3] [--without-sink]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment="$(tests/venv.sh interop tests/interop/requirements.txt)"
cargo build --release --locked --package frazil-cli --features kafka
PYTHONPATH=tests/interop exec "$environment/bin/python" bench/kafka.py "$@"
