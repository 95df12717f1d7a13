#!/bin/sh
# Register, read and delete devices over the HTTP API with curl (7.76 or newer), which signs.
#
#   API_URL=https://….execute-api.eu-west-1.amazonaws.com AWS_REGION=eu-west-1 \
#   AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… \
#   examples/http/devices.sh register 6f1f2d3c-0a4e-4d5f-9a43-1f0f6f5f3d52 \
#       examples/http/device.json
#
# Every command can be repeated without harm.
set -eu

usage='usage: devices.sh register ID FILE | show ID | delete ID | list USER | erase USER'
id=${2-}
case ${1-} in
    register) method=PUT path=/devices/$id ;;
    show) method=GET path=/devices/$id ;;
    delete) method=DELETE path=/devices/$id ;;
    list) method=GET path=/users/$id/devices ;;
    erase) method=DELETE path=/users/$id ;;
    *) echo "$usage" >&2; exit 2 ;;
esac
case $id in
    '') echo "$usage" >&2; exit 2 ;;
    *[!A-Za-z0-9._~-]*) echo 'devices.sh: older versions of curl sign a character of this id wrongly: use devices.py or devices.mjs' >&2; exit 2 ;;
esac
: "${API_URL:?is not set: it is the output ApiUrl of the stack (in the sandbox: \`make sandbox\` prints the command)}"
: "${AWS_ACCESS_KEY_ID:?is not set}" "${AWS_SECRET_ACCESS_KEY:?is not set}"
region=${AWS_REGION:-${AWS_DEFAULT_REGION:?is not set: it is the region of the stack}}

if [ "$1" = register ]; then
    [ -r "${3:?$usage}" ] || { echo "devices.sh: $3 cannot be read" >&2; exit 2; }
    set -- --header 'Content-Type: application/json' --data-binary "@$3"
else
    set --
fi
if [ -n "${AWS_SESSION_TOKEN:-}" ]; then # part of a role's temporary credentials
    set -- "$@" --header "X-Amz-Security-Token: $AWS_SESSION_TOKEN"
fi
# curl reads the secret from standard input, because other users can read command lines.
status=0
answer=$(printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
    curl --config - --silent --show-error --fail-with-body --max-time 35 \
        --aws-sigv4 "aws:amz:$region:execute-api" --request "$method" "$@" "${API_URL%/}$path") || status=$?
[ -z "$answer" ] || printf '%s\n' "$answer" # a DELETE has no answer
exit "$status"
