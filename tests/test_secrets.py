"""The repository contains no secret: what detect-secrets finds is in ``accepted_secrets.toml``."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import get_plugins, transient_settings

from tests.support.paths import REPOSITORY

ACCEPTED = tomllib.loads(Path(__file__).with_name("accepted_secrets.toml").read_text())

# Without those that guess by the name of a variable, which Ruff does (S105 to S107), and by the
# randomness of a text. All of them together take 15 s.
DETECTORS = (
    *("AWSKeyDetector", "BasicAuthDetector", "GitHubTokenDetector", "JwtTokenDetector"),
    *("NpmDetector", "PrivateKeyDetector", "PypiTokenDetector"),
)

GENERATED = {
    *(".venv", ".build", ".git", "node_modules", "cdk.out", "dist", "__pycache__"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"),
}
NOT_READ = (".png", ".svg", "requirements.txt", "peers.txt", "package-lock.json")
"""Pictures, and locks, which hold nothing but names and hashes."""


def files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - GENERATED)
        yield from (Path(place, name) for name in names if not name.endswith(NOT_READ))


def secrets_in(folder: Path) -> dict[str, Counter[str]]:
    """Find what looks like a secret: how many of each kind, by file. Nothing is sent anywhere."""
    found: dict[str, Counter[str]] = {}
    with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}):
        patterns = [each for plugin in get_plugins() for each in plugin.denylist]
        for file in files(folder):
            text = file.read_text(errors="replace")
            # Reading line by line, as detect-secrets does, takes twenty times as long.
            if not any(pattern.search(text) for pattern in patterns):
                continue
            for secret in scan_file(str(file)):
                counts = found.setdefault(file.relative_to(folder).as_posix(), Counter())
                counts[secret.type] += 1
    return found


def test_the_repository_contains_no_secret() -> None:
    accepted = {
        name: Counter({kind: count for kind, count in entry.items() if kind != "reason"})
        for name, entry in ACCEPTED.items()
    }

    assert all(entry["reason"] for entry in ACCEPTED.values())
    assert secrets_in(REPOSITORY) == accepted


def test_a_new_secret_is_found(tmp_path: Path) -> None:
    key = "-----BEGIN {} KEY-----\nMIIE\n-----END {} KEY-----\n".replace("{}", "PRIVATE")
    (tmp_path / "service-account.json").write_text(key)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text(key)

    assert secrets_in(tmp_path) == {"service-account.json": Counter({"Private Key": 1})}
