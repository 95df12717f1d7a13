"""JSON of any shape, read without errors: answers may come from a proxy or a changed service."""

from __future__ import annotations

import json
from typing import Any


def read_json(body: bytes) -> object:
    """Parse JSON; return the text if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def as_dict(value: object) -> dict[str, Any]:
    """Return a JSON object as it is, and an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return a JSON array as it is, and an empty one in place of anything else."""
    return value if isinstance(value, list) else []
