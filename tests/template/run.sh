#!/usr/bin/env bash
# Lints the stacks, and holds them against the code and the documents.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

# Two environments, since SAM and Checkov want different versions of the same packages.
sam="$(tests/venv.sh sam "$here/sam.txt")"
checkov="$(tests/venv.sh checkov "$here/checkov.txt")"

# sam wants a region, and no credentials.
export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
for template in template.yaml kafka.yaml queries.yaml; do
    "$sam/bin/sam" validate --lint --template "$template"
    # With the informational rules, which sam leaves out.
    "$sam/bin/cfn-lint" --include-checks I -- "$template"
    "$checkov/bin/checkov" --file "$template" --framework cloudformation --compact --quiet --skip-download
done
exec "$sam/bin/python" "$here/check.py"
