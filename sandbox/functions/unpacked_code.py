"""The functions' code, unpacked once for all execution environments that run it."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from threading import Lock
from typing import Final


class UnpackedCode:
    """The folders with unpacked code, shared by all environments that run it.

    Parameters
    ----------
    folder
        Where the code is unpacked. The caller removes it.
    """

    # This many unused folders stay, so that a function that was idle for long or was killed
    # starts without unpacking. More would fill the disk while a developer changes code all day.
    UNUSED_KEPT: Final = 4

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._users: dict[Path, int] = {}

    def take(self, sha256: str, archive: bytes) -> Path:
        """Return the folder with this code; ``give_back`` ends the use.

        Raises
        ------
        zipfile.BadZipFile
            If the archive is no zip.
        """
        # The digest is base64, which has characters that a file name cannot have.
        target = self._folder / sha256.translate(str.maketrans("/+", "_-", "="))
        with self._lock:
            if not target.exists():
                unfinished = self._folder / "unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
                    bundle.extractall(unfinished)
                unfinished.rename(target)
            # Used last, so at the end.
            self._users[target] = self._users.pop(target, 0) + 1
        return target

    def give_back(self, target: Path) -> None:
        """End one use of a folder."""
        with self._lock:
            self._users[target] -= 1
            unused = [folder for folder, users in self._users.items() if not users]
            for folder in unused[: -self.UNUSED_KEPT]:
                del self._users[folder]
                shutil.rmtree(folder, ignore_errors=True)
