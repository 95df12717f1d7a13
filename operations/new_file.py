"""A new file for data of people, which only its owner can read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from operations.account import OperationsError


@contextmanager
def new_file(output: Path | None) -> Iterator[TextIO]:
    """Open a new file, and remove it if the writing fails: a part looks like the whole.

    Parameters
    ----------
    output
        The file; None for standard output.

    Raises
    ------
    OperationsError
        If the file exists, or cannot be written.
    """
    if output is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600)
    except FileExistsError as error:
        raise OperationsError(f"{output} exists already. Name a new file.") from error
    except OSError as error:
        raise OperationsError(f"{output} cannot be written: {error.strerror}") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            yield file
    except BaseException as error:  # also after Ctrl-C
        output.unlink(missing_ok=True)
        if isinstance(error, OSError):  # such as a full disk
            raise OperationsError(f"{output} cannot be written: {error.strerror}") from error
        raise
