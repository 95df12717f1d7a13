"""JSON as the payloads of the push services hold it."""

from __future__ import annotations

import json


def compact_json(value: object) -> str:
    """Write JSON without spaces or needless escapes, as payload limits count it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def utf8_bytes(text: str) -> int:
    """Count the bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
