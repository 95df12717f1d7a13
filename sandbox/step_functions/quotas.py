"""The limit of a state's input and output."""

from __future__ import annotations

import json
from typing import Any, Final

LIMIT: Final = 262_144
"""In bytes of UTF-8 (API reference, StartExecution and Quotas)."""


def within_limit(value: Any) -> bool:
    """Return whether a value, as compact JSON, is within the limit.

    moto counts blanks and escapes that Step Functions does not write.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return len(text.encode(errors="surrogatepass")) <= LIMIT
