#!/usr/bin/env bash
# Prints the folder of a Python environment with what a requirements file pins; makes it again when the file changes.
#   venv.sh NAME REQUIREMENTS
set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
environment="$repository/target/$1-venv"
wanted="$(sha256sum "$2" | cut -c1-16)"
if [[ "$(cat "$environment/requirements.hash" 2>/dev/null || true)" != "$wanted" ]]; then
    rm -rf "$environment"
    python3 -m venv "$environment" >&2
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$2" >&2
    echo "$wanted" >"$environment/requirements.hash" # last, so that an interrupted installation starts again
fi
echo "$environment"
