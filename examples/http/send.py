"""Send a request to the HTTP API, signed with botocore, which is a part of boto3.

    API_URL=https://….execute-api.eu-west-1.amazonaws.com AWS_REGION=eu-west-1 \
    python examples/http/send.py examples/first-push.json

It finds credentials as boto3 does: in variables, profiles, the machine's role.
A second argument is the idempotency key. Use the same key if you repeat the request.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session


def send(request: bytes, key: str | None = None) -> tuple[int, dict[str, object]]:
    """Send a request; return the status, and the report or the problem."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    http_request = AWSRequest(
        "POST", f"{os.environ['API_URL'].rstrip('/')}/messages", headers, request
    )
    region = os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"]
    credentials = botocore.session.Session().get_credentials()
    SigV4Auth(credentials, "execute-api", region).add_auth(http_request)
    answer = URLLib3Session(timeout=35).send(
        http_request.prepare()
    )  # API Gateway answers within 30 s
    return answer.status_code, json.loads(answer.content)


def main(arguments: list[str]) -> str | int:
    """Send a file; return the exit status or an error message."""
    if len(arguments) not in (1, 2):
        return "usage: send.py FILE [IDEMPOTENCY_KEY]"
    if not os.environ.get("API_URL"):
        return "API_URL is not set: it is the stack's output ApiUrl"
    if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        return "AWS_REGION is not set: it is the region of the stack"
    try:
        status, document = send(Path(arguments[0]).read_bytes(), *arguments[1:])
    except json.JSONDecodeError:
        return "the answer is not JSON: is API_URL the stack's output ApiUrl?"
    except (BotoCoreError, OSError) as error:  # no credentials, no such file, no connection
        return f"not sent, or without an answer: {error}"
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
    return 0 if status in (200, 202) else f"HTTP {status}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
