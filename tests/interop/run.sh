#!/usr/bin/env bash
# Reads what frazil wrote with engines that this project did not write.
#   run.sh          every check
#   run.sh 2 3      these checks
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repository="$(cd "$here/../.." && pwd)"
cd "$repository"

# The environment is made again when the requirements change.
wanted="$(sha256sum "$here/requirements.txt" | cut -c1-16)"
environment="$repository/target/interop-venv"
if [[ "$(cat "$environment/requirements.hash" 2>/dev/null || true)" != "$wanted" ]]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    echo "$wanted" >"$environment/requirements.hash" # last, so that an interrupted installation starts again
fi

cargo build --workspace --bins
# cargo-lambda is found on the PATH of the environment.
PATH="$environment/bin:$PATH" exec "$environment/bin/python" "$here/run.py" "$@"
