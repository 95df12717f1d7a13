"""The file with the request that a job sends to each of its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from operations.account import OperationsError


def read_request(path: Path) -> dict[str, Any]:
    """Read a request from a file.

    Raises
    ------
    OperationsError
        If there is no JSON object in it.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise OperationsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OperationsError(f"{path} is not UTF-8: save it as UTF-8.") from error
    try:
        request = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise OperationsError(f"{path} is not JSON: {error.msg} at {place}.") from error
    except RecursionError as error:
        raise OperationsError(f"{path} is not JSON that can be read: too many brackets.") from error
    if not isinstance(request, dict):
        raise OperationsError(
            f'{path} must hold a request, a JSON object such as {{"title": "…", "message": "…"}}.'
        )
    return request
