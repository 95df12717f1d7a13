"""Register, read and delete devices over the HTTP API, signed with botocore, a part of boto3.

    API_URL=https://….execute-api.eu-west-1.amazonaws.com AWS_REGION=eu-west-1 \
    python examples/http/devices.py register 6f1f2d3c-0a4e-4d5f-9a43-1f0f6f5f3d52 \
        examples/http/device.json

It finds credentials as boto3 does: in variables, profiles, the machine's role.
Every command can be repeated without harm.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session

COMMANDS = {
    "register": ("PUT", "/devices/{}"),
    "show": ("GET", "/devices/{}"),
    "delete": ("DELETE", "/devices/{}"),
    "list": ("GET", "/users/{}/devices"),
    "erase": ("DELETE", "/users/{}"),
}


def call(method: str, path: str, body: bytes | None = None) -> tuple[int, object]:
    """Make a call; return the status, and the JSON of the answer, or None if it is empty."""
    headers = {} if body is None else {"Content-Type": "application/json"}
    http_request = AWSRequest(method, f"{os.environ['API_URL'].rstrip('/')}{path}", headers, body)
    region = os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"]
    credentials = botocore.session.Session().get_credentials()
    SigV4Auth(credentials, "execute-api", region).add_auth(http_request)
    answer = URLLib3Session(timeout=35).send(
        http_request.prepare()
    )  # API Gateway answers within 30 s
    return answer.status_code, json.loads(answer.content) if answer.content else None


def main(arguments: list[str]) -> str | int:
    """Make the call of a command; return the exit status or an error message."""
    command, id_, *files = arguments if len(arguments) > 1 else ("", "")
    if command not in COMMANDS or len(files) != (command == "register"):
        return "usage: devices.py register ID FILE | show ID | delete ID | list USER | erase USER"
    if not os.environ.get("API_URL"):
        return "API_URL is not set: it is the stack's output ApiUrl"
    if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        return "AWS_REGION is not set: it is the region of the stack"
    method, path = COMMANDS[command]
    try:
        body = Path(files[0]).read_bytes() if files else None
        # Ids can have characters such as @ and |, which a path cannot.
        status, document = call(method, path.format(quote(id_, safe="")), body)
    except json.JSONDecodeError:
        return "the answer is not JSON: is API_URL the stack's output ApiUrl?"
    except (BotoCoreError, OSError) as error:  # no credentials, no such file, no connection
        return f"not sent, or without an answer: {error}"
    if document is not None:
        sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
    return 0 if status in (200, 201, 204) else f"HTTP {status}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
