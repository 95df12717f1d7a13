"""The installation: what `make` installs, from where, and its error messages.

The tests create a checkout with the real Makefile and the real uv, one package and an index.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest

from infra.install.locks import EVERYTHING, FUNCTION, PEERS, LockError, entries, group
from infra.install.package_index import explain
from tests.support.bundles import lock_of, write_wheel
from tests.support.loopback import LoopbackHandler, Reply, refusing_url, serving
from tests.support.paths import REPOSITORY

UV = Path(sys.executable).with_name("uv")

PYPROJECT = """
[dependency-groups]
installer = ["uv"]
demo = [{include-group = "installer"}, "tiny"]
absent = ["absent"]
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make wheels of uv, which is the installed one, and of a package with a program."""
    folder = tmp_path_factory.mktemp("wheels")
    write_wheel(folder, "uv", {"uv-1.0.data/scripts/uv": UV.read_bytes()}, program=False)
    program = b"import sys\ndef main():\n    print('tiny runs in', sys.prefix)\n"
    write_wheel(folder, "tiny", {"tiny.py": program})
    return folder


def write_checkout(folder: Path, wheels: Path) -> Path:
    folder.mkdir()
    shutil.copy(REPOSITORY / "Makefile", folder)
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "infra", folder / "infra", ignore=without)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "requirements.txt").write_text(lock_of(wheels, "uv", "tiny"))
    return folder


def offline(folder: Path, wheels: Path) -> dict[str, str]:
    """Give an environment whose pip knows the wheels and no index."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV"))
    }
    config = folder / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    return {
        **kept,
        "PIP_CONFIG_FILE": str(config),
        "UV_CACHE_DIR": str(folder / "cache"),
        "HOME": str(folder / "home"),
    }


@pytest.fixture
def environment(tmp_path: Path, wheels: Path) -> dict[str, str]:
    return offline(tmp_path, wheels)


@pytest.fixture
def fresh(tmp_path: Path, wheels: Path) -> Path:
    """Make a checkout in which nothing is installed."""
    return write_checkout(tmp_path / "a folder with spaces", wheels)


@pytest.fixture(scope="module")
def _prepared(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    checkout = write_checkout(folder / "checkout", wheels)
    assert install(checkout, "installer", offline(folder, wheels))[0] == 0
    return checkout


@pytest.fixture
def prepared(_prepared: Path, tmp_path: Path) -> Path:
    """Make a checkout that has the environment and uv, as another folder had it."""
    return Path(shutil.copytree(_prepared, tmp_path / "prepared checkout", symlinks=True))


@pytest.fixture
def without_uv(prepared: Path) -> Path:
    """Make a checkout that has the environment only: pip fetches uv first."""
    for left in (prepared / ".venv").glob("lib/python*/site-packages/uv-*.dist-info"):
        shutil.rmtree(left)
    (prepared / ".venv" / "bin" / "uv").unlink()
    return prepared


def start(checkout: Path, target: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            shutil.which("make") or "make",
            "--no-print-directory",
            target,
            f"PYTHON={sys.executable}",
        ],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def install(checkout: Path, part: str, environment: dict[str, str]) -> tuple[int, list[str]]:
    """Install a part; give the exit status of make and the output without make's own."""
    with start(checkout, f".venv/has-{part}", environment) as running:
        _, printed = running.communicate(timeout=120)
    return running.returncode, [
        line for line in printed.splitlines() if not line.startswith("make")
    ]


def run_tiny(checkout: Path) -> str:
    result = subprocess.run(
        [str(checkout / ".venv" / "bin" / "tiny")], capture_output=True, text=True, check=True
    )
    return result.stdout


def test_a_renamed_folder_keeps_its_programs(prepared: Path, environment: dict[str, str]) -> None:
    install(prepared, "demo", environment)
    moved = prepared.rename(prepared.with_name("renamed"))

    assert run_tiny(moved).strip() == f"tiny runs in {moved / '.venv'}"
    (moved / "requirements.txt").touch()
    assert install(moved, "demo", environment)[0] == 0


FOREIGN = {
    "PIP_USER": "1",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_NO_BINARY": ":all:",
    "PIP_TARGET": "elsewhere",
    "PIP_PREFIX": "elsewhere",
    "PIP_DRY_RUN": "1",
    "PIP_CONSTRAINT": "/nonexistent",
    "PIP_REQUIREMENT": "/nonexistent",
    "UV_NO_BINARY": "1",
    "UV_OFFLINE": "1",
    "UV_EXCLUDE_NEWER": "2001-01-01",
    "UV_TARGET": "elsewhere",
    "UV_PYTHON": "2.7",
    "UV_SYSTEM_PYTHON": "1",
    "UV_INDEX_URL": "http://127.0.0.1:9",
    "UV_CONSTRAINT": "/nonexistent",
    "PYTHONSAFEPATH": "1",
    "PYTHONHOME": "/nonexistent",
    "PYTHONWARNINGS": "error",
    "PYTHONPATH": "hostile",
    "PYTHONIOENCODING": "latin-1",
    "LC_ALL": "C",
    "VIRTUAL_ENV": "/nonexistent",
    "CONDA_PREFIX": "/nonexistent",
}


def test_a_part_is_installed_once_with_any_shell_settings_and_shows_its_progress(
    fresh: Path, environment: dict[str, str]
) -> None:
    (fresh / "hostile").mkdir()
    (fresh / "hostile" / "tomllib.py").write_text("raise SystemExit('the wrong tomllib')")
    (fresh / "uv.toml").write_text("no-binary = true\n")
    before = os.umask(0o077)
    try:
        status, output = install(fresh, "demo", {**environment, **FOREIGN})
        again = install(fresh, "demo", {**environment, **FOREIGN})
    finally:
        os.umask(before)

    assert (status, again) == (0, (0, [])), output
    assert output[0].startswith("Installing into .venv: what demo needs")
    assert output[-1].strip().startswith("Installed 1 package")
    assert run_tiny(fresh).split(" in ")[0] == "tiny runs"
    assert not (fresh / "elsewhere").exists()


# ------------------------------------------------------------------ what goes wrong


class Index(NamedTuple):
    """A package index on loopback that was asked for something when ``asked`` is set."""

    environment: dict[str, str]
    asked: Event


def index_at(url: str) -> dict[str, str]:
    """Give the environment in which pip and uv use the index at a URL, once."""
    return {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{url}/simple",
        "PIP_RETRIES": "0",
    }


@pytest.fixture
def index(request: pytest.FixtureRequest) -> Iterator[Index]:
    """Run an index that answers every request with the status of the parameter; None: never."""
    asked, end = Event(), Event()

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            asked.set()
            if request.param is None:
                end.wait()
            return Reply(request.param or 503, b"")

    with serving(Handler) as url:
        yield Index(index_at(url), asked)
        end.set()


def failure(message: list[str]) -> str:
    """Give the one line about the failure."""
    (line,) = [line for line in message if "failed" in line]
    assert line == message[-1]
    assert "Traceback" not in "\n".join(message)
    return line


@pytest.mark.parametrize("index", [503], indirect=True)
def test_an_index_that_refuses_pip_gives_one_line(
    without_uv: Path, environment: dict[str, str], index: Index
) -> None:
    status, output = install(without_uv, "demo", {**environment, **index.environment})

    assert status != 0
    assert "the package index answered" in failure(output)


@pytest.mark.parametrize("index", [401, 403, 407, 503], indirect=True)
def test_an_index_that_refuses_uv_gives_one_line_and_the_next_run_continues(
    prepared: Path, environment: dict[str, str], index: Index
) -> None:
    status, output = install(prepared, "demo", {**environment, **index.environment})

    assert status != 0
    assert "the package index answered" in failure(output)
    assert install(prepared, "demo", environment)[0] == 0


@pytest.mark.parametrize("start_from", ["without_uv", "prepared"])
def test_no_network_gives_one_line(
    request: pytest.FixtureRequest, environment: dict[str, str], start_from: str
) -> None:
    checkout = request.getfixturevalue(start_from)
    status, output = install(checkout, "demo", {**environment, **index_at(refusing_url())})

    assert status != 0
    assert "the package index is out of reach: look at the network" in failure(output)


def test_a_file_with_another_hash_is_not_installed(
    prepared: Path, environment: dict[str, str], wheels: Path
) -> None:
    lock = prepared / "requirements.txt"
    right = lock_of(wheels, "tiny")
    lock.write_text(
        lock.read_text().replace(right, f"{right.splitlines()[0]}\n    --hash=sha256:{'0' * 64}\n")
    )
    status, output = install(prepared, "demo", environment)

    assert status != 0
    assert "a file is not the one that the lock names" in failure(output)
    assert not (prepared / ".venv" / "bin" / "tiny").exists()


def test_a_package_missing_in_the_lock_is_refused(
    prepared: Path, environment: dict[str, str], wheels: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    write_wheel(more, "tiny", {"tiny.py": b""}, requires="other")
    write_wheel(more, "other", {"other.py": b""})
    (prepared / "requirements.txt").write_text(lock_of(wheels, "uv") + lock_of(more, "tiny"))
    links = {"PIP_FIND_LINKS": f"{more} {wheels}"}
    status, output = install(prepared, "demo", {**environment, **links})

    assert status != 0
    assert "other" in failure(output)
    missing = install(prepared, "absent", environment)
    assert "the lock does not name absent: run `make lock`" in failure(missing[1])


@pytest.mark.parametrize("index", [None], indirect=True)
def test_ctrl_c_gives_one_line_and_the_next_run_continues(
    prepared: Path, environment: dict[str, str], index: Index
) -> None:
    install(prepared, "installer", environment)
    with start(prepared, ".venv/has-demo", {**environment, **index.environment}) as running:
        assert index.asked.wait(60)
        os.killpg(running.pid, signal.SIGINT)
        _, output = running.communicate(timeout=60)

    assert running.returncode != 0
    assert "The installation was ended; the next run goes on." in output
    assert "Traceback" not in output
    assert install(prepared, "demo", environment)[0] == 0


def test_concurrent_installations_run_one_after_the_other(
    prepared: Path, environment: dict[str, str]
) -> None:
    both = [start(prepared, ".venv/has-demo", environment) for _ in range(2)]
    output = [running.communicate(timeout=120)[1] for running in both]

    assert [running.returncode for running in both] == [0, 0]
    assert sum("another installation" in each.lower() for each in output) == 1
    assert "tiny runs" in run_tiny(prepared)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("npm error code E403\nnpm error 403 403 Forbidden - GET http://…", "answered 403"),
        ("npm error code ENOTFOUND", "out of reach"),
        ("npm error code EINTEGRITY", "not the one that the lock names"),
        ("npm error code ENOSPC", "the disk is full"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("error: failed to write: No space left on device (os error 28)", "the disk is full"),
        ("403 Client Error: Forbidden for url: http://…", "answered 403"),
        ("cause: dns error", "out of reach"),
        ("error: Read-only file system (os error 30)", "cannot be written"),
    ],
)
def test_known_installer_errors_are_explained(printed: str, expected: str) -> None:
    assert expected in str(explain(printed))


def test_unknown_installer_errors_are_not_explained() -> None:
    assert explain("tiny==1.403 requires other==5.503") is None


# ------------------------------------------------------------------ the project's own locks


@pytest.mark.parametrize("lock", [EVERYTHING, FUNCTION, PEERS], ids=lambda lock: lock.parent.name)
def test_a_lock_pins_every_package_with_hashes_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    found = entries(text)
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]

    assert len(found) == len(lines) > 5
    assert all("--hash=sha256:" in entry for entry in found)
    assert "://" not in text


@pytest.mark.parametrize("part", ["all", "lock"])
def test_the_lock_has_every_package_of_the_list(part: str) -> None:
    wanted = group(part)
    assert len(entries(EVERYTHING.read_text(), *wanted)) >= len(wanted)


def test_every_package_that_npm_installs_has_its_hash_and_no_address() -> None:
    lock = json.loads((REPOSITORY / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert "://" not in (REPOSITORY / "package-lock.json").read_text()


def test_extras_and_markers_stay_with_an_entry() -> None:
    tiny = "tiny-pack==1 ; sys_platform == 'linux' \\\n    --hash=sha256:0"
    lock = f"{tiny}\n    # via x\nother==2 \\\n    --hash=sha256:1\n"
    assert entries(lock, "Tiny_pack[extra]") == [
        "tiny-pack[extra]==1 ; sys_platform == 'linux' \\\n    --hash=sha256:0"
    ]
    with pytest.raises(LockError, match="does not name missing"):
        entries(lock, "missing>=1")
