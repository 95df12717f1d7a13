#!/bin/sh
# Send a request to the HTTP API with curl (7.76 or newer), which signs it.
#
#   API_URL=https://….execute-api.eu-west-1.amazonaws.com AWS_REGION=eu-west-1 \
#   AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… examples/http/send.sh examples/first-push.json
#
# A second argument is the idempotency key. Use the same key if you repeat the request.
set -eu

request=${1:?usage: send.sh FILE [IDEMPOTENCY_KEY]}
[ -r "$request" ] || { echo "send.sh: $request cannot be read" >&2; exit 2; }
: "${API_URL:?is not set: it is the output ApiUrl of the stack (in the sandbox: \`make sandbox\` prints the command)}"
: "${AWS_ACCESS_KEY_ID:?is not set}" "${AWS_SECRET_ACCESS_KEY:?is not set}"
region=${AWS_REGION:-${AWS_DEFAULT_REGION:?is not set: it is the region of the stack}}

set -- ${2:+--header "Idempotency-Key: $2"}
if [ -n "${AWS_SESSION_TOKEN:-}" ]; then # part of a role's temporary credentials
    set -- "$@" --header "X-Amz-Security-Token: $AWS_SESSION_TOKEN"
fi
# curl reads the secret from standard input, because other users can read command lines.
printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
    curl --config - --silent --show-error --fail-with-body --max-time 35 --write-out '\n' \
        --aws-sigv4 "aws:amz:$region:execute-api" \
        --header 'Content-Type: application/json' "$@" \
        --data-binary "@$request" "${API_URL%/}/messages"
