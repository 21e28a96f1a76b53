#!/usr/bin/env bash
# Reads what frazil wrote with engines that this project did not write.
#   run.sh          every check
#   run.sh 2 3      these checks
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

environment="$(tests/venv.sh interop "$here/requirements.txt")"
# The command with what it has behind features, and one catalog of AWS, as an operator builds it. With a test beside it, all that
# `cargo test` has compiled serves here, too.
cargo build --workspace --bins --test refused --features frazil-cli/glue,frazil-cli/kafka,frazil-cli/query
# Where no other build, such as that of cargo lambda, puts binaries with fewer features.
binaries="${CARGO_TARGET_DIR:-target}/interop-bin"
mkdir -p "$binaries"
cp "${CARGO_TARGET_DIR:-target}"/debug/{append,frazil,transform} "$binaries"
# cargo-lambda is found on the PATH of the environment.
PATH="$environment/bin:$PATH" exec "$environment/bin/python" "$here/run.py" "$@"
