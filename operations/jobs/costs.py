"""What a job costs: an estimate with the prices of docs/costs.md, us-east-1, in US dollars."""

from __future__ import annotations

from typing import Final

PUSH: Final = 1.00e-6
"""docs/costs.md, Prices: push."""

_REST_OF_A_ROW: Final = 0.11e-6
"""docs/costs.md, Jobs: the rest of a row, at the default pace."""

_IMPORTED_ROW: Final = 4.2e-6
"""docs/costs.md, Jobs: a new device of an import."""


def estimate(rows: int, *, is_import: bool) -> float:
    """Estimate the cost of a job, without the account's free allowances.

    A user with several devices costs a push for each, which nobody knows before.
    """
    return rows * (_IMPORTED_ROW if is_import else PUSH + _REST_OF_A_ROW)
