#!/usr/bin/env bash
# Lints template.yaml, and holds it against the code and the documents.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repository="$(cd "$here/../.." && pwd)"
cd "$repository"

# Two environments, since SAM and Checkov want different versions of the same packages. Each is made again when its
# requirements change.
environment() {
    local requirements="$here/$1.txt" environment="$repository/target/$1-venv" wanted
    wanted="$(sha256sum "$requirements" | cut -c1-16)"
    if [[ "$(cat "$environment/requirements.hash" 2>/dev/null || true)" != "$wanted" ]]; then
        rm -rf "$environment"
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
        echo "$wanted" >"$environment/requirements.hash" # last, so that an interrupted installation starts again
    fi
}
environment sam
environment checkov

# sam wants a region, and no credentials.
export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
target/sam-venv/bin/sam validate --lint --template template.yaml
# With the informational rules, which sam leaves out.
target/sam-venv/bin/cfn-lint --include-checks I -- template.yaml
target/checkov-venv/bin/checkov --file template.yaml --framework cloudformation --compact --quiet --skip-download
exec target/sam-venv/bin/python "$here/check.py"
