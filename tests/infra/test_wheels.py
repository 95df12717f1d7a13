"""Wheels: which ones fit a target, and the error message if one does not."""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

import pytest

from infra.bundle.wheels import (
    LAMBDA_ARM64,
    BundleError,
    install_wheels,
    platform_tags,
    refuse_foreign,
    this_machine,
)
from tests.support.bundles import elf, keep_pip_offline, lock_of, write_wheel


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keep_pip_offline(tmp_path / "wheels", monkeypatch)
    return tmp_path / "wheels"


# ------------------------------------------------------------------ which fit


@pytest.mark.parametrize(
    ("system", "machine", "version", "first", "among"),
    [
        ("Linux", "aarch64", "2.34", "manylinux_2_34_aarch64", "manylinux2014_aarch64"),
        ("Linux", "x86_64", "2.39", "manylinux_2_39_x86_64", "manylinux1_x86_64"),
        ("Linux", "x86_64", "", "musllinux_1_2_x86_64", "musllinux_1_1_x86_64"),
        ("Darwin", "arm64", "15.3.1", "macosx_15_0_arm64", "macosx_15_0_arm64"),
        ("Darwin", "x86_64", "10.15.7", "macosx_10_15_x86_64", "macosx_10_15_x86_64"),
    ],
)
def test_platforms_have_the_names_of_wheel_tags(
    system: str, machine: str, version: str, first: str, among: str
) -> None:
    tags = platform_tags(system, machine, version)
    assert tags[0] == first
    assert among in tags


def test_lambda_accepts_wheels_that_run_there(offline: Path, tmp_path: Path) -> None:
    tags = {
        "plain": "py3-none-any",
        "older": "cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64",
        "newest": "cp313-cp313-manylinux_2_34_aarch64",
        "stable": "cp39-abi3-manylinux_2_28_aarch64",
    }
    for name, tag in tags.items():
        write_wheel(offline, name, {f"{name}.py": b""}, tag=tag)
    install_wheels(lock_of(offline, *tags), LAMBDA_ARM64, tmp_path / "site")
    assert {path.stem for path in (tmp_path / "site").glob("*.py")} == set(tags)


def test_lambda_refuses_wheels_that_do_not_run_there(offline: Path, tmp_path: Path) -> None:
    for tag in (
        "cp313-cp313-manylinux_2_35_aarch64",
        "cp313-cp313-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux_2_17_aarch64",
        "cp313-cp313-musllinux_1_2_aarch64",
        "cp313-cp313-macosx_11_0_arm64",
    ):
        write_wheel(offline, "choosy", {f"{tag}.py": b""}, tag=tag)
    with pytest.raises(BundleError, match=r"no wheel of choosy==1\.0"):
        install_wheels(lock_of(offline, "choosy"), LAMBDA_ARM64, tmp_path / "site")


def test_a_lock_installs_its_packages_and_no_other_dependency(
    offline: Path, tmp_path: Path
) -> None:
    write_wheel(offline, "needy", {"needy.py": b""}, requires="tiny")
    install_wheels(lock_of(offline, "needy"), this_machine(), tmp_path / "alone")
    install_wheels(lock_of(offline, "needy", "tiny"), this_machine(), tmp_path / "all")
    assert not (tmp_path / "alone" / "tiny").exists()
    assert (tmp_path / "all" / "tiny").is_dir()


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.usefixtures("offline")
def test_wheels_are_not_installed_into_a_used_folder(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").write_text("kept")
    with pytest.raises(BundleError, match="not empty"):
        install_wheels("tiny==1.0", LAMBDA_ARM64, tmp_path / "site")
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["mine.txt"]


def test_a_package_without_a_wheel_is_named_with_the_target(offline: Path, tmp_path: Path) -> None:
    (offline / "sourceonly-1.0.tar.gz").write_bytes(b"an sdist, which must not be built")
    with pytest.raises(BundleError) as caught:
        install_wheels(f"sourceonly==1.0 --hash=sha256:{'0' * 64}", LAMBDA_ARM64, tmp_path / "site")
    message = str(caught.value)
    assert message.startswith("no wheel of sourceonly==1.0 for CPython 3.13 on aarch64 ")
    assert "wheels only, because" in message
    assert "\n" not in message
    assert not (tmp_path / "site").exists()


@pytest.mark.usefixtures("offline")
def test_a_network_failure_is_distinguished_from_a_missing_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        with pytest.raises(BundleError) as caught:
            install_wheels(f"absent==1.0 --hash=sha256:{'0' * 64}", LAMBDA_ARM64, tmp_path / "site")
    message = str(caught.value)
    assert message.startswith("the package index is out of reach")
    assert "Connection refused" in message
    assert "Traceback" not in message
    assert "\n" not in message


def test_a_wheel_with_another_hash_is_named_with_its_line(offline: Path, tmp_path: Path) -> None:
    write_wheel(offline, "other", {"other.py": b""})
    lock = "# written by make lock\n" + lock_of(offline, "tiny", "other")
    write_wheel(offline, "other", {"other.py": b"changed = True"})
    with pytest.raises(BundleError) as caught:
        install_wheels(lock, this_machine(), tmp_path / "site", name="lambda_src/requirements.txt")
    message = str(caught.value)
    assert message.startswith(
        "other-1.0-py3-none-any.whl is not a file that lambda_src/requirements.txt, line 4, "
        "names for other==1.0"
    )
    assert "\n" not in message
    assert not (tmp_path / "site").exists()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("lock", ["tiny==1.0", "tiny"])
def test_a_lock_without_hashes_or_versions_is_refused(tmp_path: Path, lock: str) -> None:
    with pytest.raises(BundleError, match=r"^the lock lacks the hashes of .+: run `make lock`$"):
        install_wheels(lock, this_machine(), tmp_path / "site")


def test_pip_settings_cannot_change_what_is_installed(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nno-index = true\nfind-links = {offline}\n"
        f"[install]\nuser = true\ntarget = {tmp_path / 'elsewhere'}\nno-binary = :all:\n"
    )
    (tmp_path / "none.txt").write_text("tiny==9\n")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    for name, value in (
        ("PIP_REQUIRE_VIRTUALENV", "1"),
        ("PIP_PREFIX", str(tmp_path / "elsewhere")),
        ("PIP_CONSTRAINT", str(tmp_path / "none.txt")),
        ("PIP_DRY_RUN", "1"),
    ):
        monkeypatch.setenv(name, value)
    install_wheels(lock_of(offline, "tiny"), this_machine(), tmp_path / "site")
    assert (tmp_path / "site" / "tiny").is_dir()
    assert not (tmp_path / "elsewhere").exists()


# ------------------------------------------------------------------ compiled files

MAC_UNIVERSAL = struct.pack(
    ">4sI5I5I", b"\xca\xfe\xba\xbe", 2, 0x01000007, 0, 0, 0, 0, 0x0100000C, 0, 0, 0, 0
)


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("fast.so", elf(0x3E), "fast.so is made for x86_64"),
        ("fast.cpython-313-x86_64-linux-gnu.so", elf(0xB7), "made for cpython-313-x86_64"),
        ("fast.cpython-312-aarch64-linux-gnu.so", elf(0xB7), "made for cpython-312-aarch64"),
        ("fast.cpython-313-aarch64-linux-musl.so", elf(0xB7), "made for cpython-313-aarch64"),
        ("libfast.so.1", elf(0x3E), "libfast.so.1 is made for x86_64"),
        ("program", elf(0x3E), "program is made for x86_64"),
        ("fast.so", b"\xcf\xfa\xed\xfe" + struct.pack("<I", 0x0100000C), "made for arm64"),
        ("fast.so", MAC_UNIVERSAL, "made for arm64 and x86_64"),
        ("fast.so", b"text", "no known machine"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_compiled_file_of_another_platform_is_refused(
    name: str, content: bytes, wrong: str
) -> None:
    with pytest.raises(BundleError, match=re.escape(wrong)):
        refuse_foreign(name, content, LAMBDA_ARM64)


@pytest.mark.parametrize(
    "name", ["fast.cpython-313-aarch64-linux-gnu.so", "fast.abi3.so", "libfast.so.1", "fast.so"]
)
def test_a_compiled_file_of_the_target_is_accepted(name: str) -> None:
    refuse_foreign(name, elf(0xB7), LAMBDA_ARM64)
