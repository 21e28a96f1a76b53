#!/usr/bin/env bash
# Deploys a template that run.sh has built to the endpoint AWS_ENDPOINT_URL.
#   deploy.sh TEMPLATE STACK BUCKET [PARAMETER=VALUE...]      the code goes through the bucket
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

: "${AWS_ENDPOINT_URL:?where to: this script is not for AWS itself}"
template="$1" stack="$2" bucket="$3"
shift 3
# The functions run on this machine. A template without that parameter takes no notice.
SAM_CLI_TELEMETRY=0 sam deploy --template-file "target/aws/build/$template" --stack-name "$stack" --s3-bucket "$bucket" \
    --region "$AWS_DEFAULT_REGION" --capabilities CAPABILITY_IAM --no-confirm-changeset --no-progressbar --no-fail-on-empty-changeset \
    --parameter-overrides "Architecture=$(uname -m | sed s/aarch64/arm64/)" "$@"
