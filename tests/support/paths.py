"""Folders of the repository."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LAMBDA_SOURCE = REPOSITORY / "lambda_src"
