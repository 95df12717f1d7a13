"""Builds the archive that Lambda runs: the function with every package it needs.

The same input, target and interpreter give the same bytes. It does not deploy, does not
know the stack, and imports nothing beyond the standard library, because the sandbox uses
it without the CDK.

Two decisions shape the archive:

**botocore ships, pinned**, although the runtime has one. The runtime's changes without
notice, so that the version tested would not be the version run, and nobody promises that
it comes with bytecode, which halves a cold start. What ships is trimmed to the services
the function calls (``SERVICE_MODELS``): all of botocore is 15 MB zipped.

**The packages ship as bytecode alone, the function with its source.** Source beside
bytecode makes 6.6 MB, and 5.9 if every module were cut that is not loaded today; without
it 5.1, or 5.5 with the models of the queue, bus and table (the goal: 6). A traceback
still has the file and line of every frame; only the text of a line inside a package is
missing. Where no bytecode can be compiled, the packages ship as source.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import re
import shutil
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from infra.bytecode import compile_all, find_compiler
from infra.wheels import (
    LAMBDA_ARM64,
    UNFINISHED,
    BundleError,
    Target,
    install_wheels,
    refuse_foreign,
    this_machine,
)

__all__ = ["Bundle", "BundleError", "build"]  # an error belongs to what raises it

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = REPOSITORY / "lambda_src"
OUT = REPOSITORY / ".build"
PACKAGE = "push_sender"

SERVICE_MODELS = ("dynamodb", "events", "pinpoint", "sqs")
"""The services the function calls, by botocore's names."""

ENDPOINTS = "botocore/data/endpoints.json"
"""Every endpoint of every service: reading its 1.25 MB is a tenth of a cold start."""

# What does not ship, as a pattern at the start of its path in the archive, and why not.
PRUNED: tuple[tuple[str, str], ...] = (
    (r"bin/", "console scripts: nobody types commands inside Lambda"),
    (r".+\.pyi$|.+/py\.typed$", "only type checkers read it"),
    (
        r"[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$",
        "pip's notes to itself: RECORD even lists what is pruned here",
    ),
    (
        rf"botocore/data/(?!({'|'.join(SERVICE_MODELS)})/)[^/]+/",
        "models of services that are never called (credentials come from the environment, "
        "so neither sts nor sso is one of them)",
    ),
    (r"botocore/data/.+/examples-1\.json$", "read only to write documentation"),
    (
        r"aws_lambda_powertools/event_handler/openapi/swagger_ui/.+\.(js|css)$",
        "the Swagger page: the HTTP API serves its OpenAPI document, no page",
    ),
    (
        r"aws_lambda_powertools/utilities/"
        r"(auth_alpha|circuit_breaker|data_masking|feature_flags|idempotency|kafka|parameters"
        r"|streaming)/",
        "features that the function does not have; most of them import boto3",
    ),
    (r"pydantic/v1/", "version 1 of pydantic, whole, for programs that have not moved on"),
    (r"pydantic/mypy\.py$", "mypy's plugin"),
    (r"dateutil/zoneinfo/.+\.tar\.gz$", "a second time zone database; the function knows UTC"),
    (r"urllib3/contrib/emscripten/", "for browsers"),
)

# A change in one of these builds anew.
_BUILDERS = ("bundle.py", "bytecode.py", "package_index.py", "wheels.py")
_KEPT_ARCHIVES = 8  # of each kind and target under .build
_ABANDONED_AFTER = 3600  # seconds; no build takes that long
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can express

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bundle:
    """A finished archive.

    Attributes
    ----------
    path, size, digest
        The zip, its bytes, and their SHA-256 in hex.
    bytecode
        Whether bytecode is compiled in.
    """

    path: Path
    size: int
    digest: str
    bytecode: bool


def build(
    target: Target, *, source: Path = SOURCE, out: Path = OUT, bytecode: bool = True
) -> Bundle:
    """Build the archive for a target, or find the one built before from the same input.

    Any number of builds may run at once, and be killed: a file under ``out`` appears whole
    or not at all.

    Parameters
    ----------
    target
        What the archive shall run on.
    source
        The directory with ``requirements.txt`` and ``push_sender/``.
    out
        The directory of archives, which is also the cache.
    bytecode
        Whether bytecode is compiled in, where a compiler is at hand.

    Raises
    ------
    BundleError
        A file or a wheel is missing, is not the one of the lock or fits another platform, or
        ``out`` cannot be written.

    Examples
    --------
    >>> build(LAMBDA_ARM64).path.name  # doctest: +SKIP
    'push-sender-lambda-arm64-2f9c0e6d1b7a4c55.zip'
    """
    try:
        return _build(target, source, out, bytecode=bytecode)
    except OSError as error:  # a full disk, a folder that may not be written
        raise BundleError(f"{error.filename or out}: {error.strerror}") from None


def _build(target: Target, source: Path, out: Path, *, bytecode: bool) -> Bundle:
    compiler = find_compiler(target.python) if bytecode else None
    if bytecode and compiler is None:
        log.warning(
            "no Python %s at hand: the bundle goes without bytecode, which doubles the cold start",
            target.python,
        )
    lock = _read_lock(source / "requirements.txt")
    function = _read_function(source / PACKAGE)
    builders = [Path(__file__).with_name(name).read_bytes() for name in _BUILDERS]
    key = _key(builders, target, compiler and compiler.identity, lock)
    packages = out / f"packages-{target.name}-{key}.zip"
    bundle = out / f"push-sender-{target.name}-{_key(key, function)}.zip"

    out.mkdir(parents=True, exist_ok=True)
    if not bundle.exists():
        with tempfile.TemporaryDirectory(dir=out, prefix=UNFINISHED) as scratch:
            if not packages.exists():
                site = Path(scratch, "packages")
                _put_packages(site, lock, target, name=f"{source.name}/requirements.txt")
                if compiler is not None:
                    compile_all(site, compiler, keep_source=False)
                _archive(site, target, packages)
            site = Path(scratch, "function")
            _put_function(site, function)
            if compiler is not None:
                compile_all(site, compiler, keep_source=True)
            _archive(site, target, bundle, onto=packages)
    _tidy(out, target, in_use=(packages, bundle))
    content = bundle.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Bundle(bundle, len(content), digest, bytecode=compiler is not None)


def _read_lock(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: it names the packages to ship") from None


def _read_function(directory: Path) -> dict[str, bytes]:
    """Read the function's files once, so that the key and the archive see the same."""
    if not (directory / "__init__.py").is_file():
        raise BundleError(f"{directory} is missing, or is no package: it has no __init__.py")
    return {
        f"{directory.name}/{name}": path.read_bytes()
        for name, path in _files(directory)
        if not re.search(r"(^|/)(\.|__pycache__/)", name)
    }


def _put_packages(site: Path, lock: str, target: Target, name: str) -> None:
    install_wheels(lock, target, site, name=name)
    for name, path in _files(site):
        if any(re.match(pattern, name) for pattern, _ in PRUNED):
            path.unlink()
    endpoints = site / ENDPOINTS
    if endpoints.exists():
        endpoints.write_text(_trimmed_endpoints(endpoints.read_text()))


def _trimmed_endpoints(text: str) -> str:
    """Leave the endpoints of the services that the function calls, in all partitions."""
    document = json.loads(text)
    for partition in document["partitions"]:
        services = partition["services"]
        partition["services"] = {
            name: services[name] for name in SERVICE_MODELS if name in services
        }
    return json.dumps(document, separators=(",", ":"))


def _put_function(site: Path, function: dict[str, bytes]) -> None:
    for name, content in function.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _archive(site: Path, target: Target, archive: Path, *, onto: Path | None = None) -> None:
    """Put a directory's files into an archive, after those of another, compressed already.

    They come in the order of their names, with nothing of this machine.
    """
    new = site.with_suffix(".zip")
    if onto is not None:
        shutil.copyfile(onto, new)
    with zipfile.ZipFile(new, "a") as writer:
        for name, path in _files(site):
            content = path.read_bytes()
            refuse_foreign(name, content, target)
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # Unix, on whatever it is built
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            writer.writestr(entry, content, compresslevel=9)
    new.replace(archive)


def _files(directory: Path) -> list[tuple[str, Path]]:
    """List the files under a directory by their names in an archive, which are sorted."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return sorted((path.relative_to(directory).as_posix(), path) for path in paths)


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _tidy(out: Path, target: Target, *, in_use: tuple[Path, ...]) -> None:
    """Remove what killed builds left, and the oldest archives but those in use."""
    for scratch in out.glob(f"{UNFINISHED}*"):
        if _modified(scratch) < time.time() - _ABANDONED_AFTER:
            shutil.rmtree(scratch, ignore_errors=True)
    for kind in ("packages", "push-sender"):
        archives = sorted(out.glob(f"{kind}-{target.name}-*.zip"), key=_modified)
        for archive in archives[:-_KEPT_ARCHIVES]:
            if archive not in in_use:
                archive.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another build tidied first
        return time.time()


def main(arguments: list[str] | None = None) -> int:
    """Build one archive and say what came out; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.bundle", description="Build the function's deployment archive."
    )
    parser.add_argument(
        "--target",
        choices=("lambda", "local"),
        default="lambda",
        help="what to build for: Lambda on arm64 (the default), or this machine",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="directory of archives and cache")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        target = LAMBDA_ARM64 if chosen.target == "lambda" else this_machine()
        bundle = build(target, out=chosen.out)
    except BundleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{bundle.path}\n"
        f"  for       {target}\n"
        f"  size      {bundle.size / 1e6:.2f} MB zipped\n"
        f"  sha256    {bundle.digest}\n"
        f"  bytecode  {'compiled in' if bundle.bytecode else 'none'}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
