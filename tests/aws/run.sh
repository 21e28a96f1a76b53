#!/usr/bin/env bash
# Deploys the stack to a stand-in for AWS on this machine, and reads what comes out of it.
#   run.sh                  with functions that cargo builds for debugging, in a minute or two
#   run.sh sam              with functions that `sam build` builds, as `sam deploy` sends them to AWS
#   run.sh HOW PROGRAM      runs another program in Python than check.py
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

sam="$(tests/venv.sh sam tests/template/sam.txt)"
interop="$(tests/venv.sh interop tests/interop/requirements.txt)"
built=target/aws/build
rm -rf "$built"
mkdir -p "$built"

case "${1:-cargo}" in
sam)
    # For this machine, on which the functions are going to run.
    PATH="$interop/bin:$PATH" SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 \
        "$sam/bin/sam" build --build-dir "$built" --parameter-overrides "Architecture=$(uname -m | sed s/aarch64/arm64/)"
    ;;
cargo)
    # Beside the other catalogs of the workspace, so that what is compiled for its tests serves here, too. What is deployed
    # has no other; see [package.metadata.lambda.build] in functions/append/Cargo.toml.
    cargo build --workspace --bins --test refused --features frazil-cli/glue,frazil-cli/kafka,frazil-cli/query
    for function in transform append maintain; do
        folder="$built/${function^}Function"
        mkdir -p "$folder"
        strip -o "$folder/bootstrap" "target/debug/$function"
    done
    cp -r tables "$built/TableDefinitions"
    # As sam build leaves it.
    sed -e 's|CodeUri: functions/transform|CodeUri: TransformFunction|' -e 's|CodeUri: functions/append|CodeUri: AppendFunction|' \
        -e 's|CodeUri: functions/maintain|CodeUri: MaintainFunction|' -e 's|ContentUri: tables|ContentUri: TableDefinitions|' template.yaml >"$built/template.yaml"
    ;;
*)
    echo "what is ${1}?" >&2
    exit 2
    ;;
esac
PATH="$interop/bin:$PATH:$sam/bin" exec "$interop/bin/python" "${2:-$here/check.py}"
