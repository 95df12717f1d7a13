"""Build the archive that Lambda runs: the function with all its packages.

The same input, target and interpreter give the same bytes. The module imports only the standard
library, because the sandbox uses it without the CDK.

Two decisions shape the archive:

**It contains a pinned botocore**, although the runtime has one. The runtime's changes without
notice, so the tested version would not be the one that runs, and AWS does not promise that it has
bytecode, which halves a cold start. Only the operations that the function calls ship
(``OPERATIONS``): all of botocore is 15 MB zipped.

**The packages ship only as bytecode, the function with its source.** The archive has 5.8 MB; the
goal is 6. With the sources of the packages, too, it would have a quarter more. A traceback still
has the file and line of every frame, but not the source line inside a package. If no bytecode can
be compiled, the packages ship as source.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.bundle.bytecode import compile_all, find_compiler
from infra.bundle.wheels import (
    UNFINISHED,
    BundleError,
    Target,
    install_wheels,
    refuse_foreign,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "lambda_src"
OUT = REPOSITORY / ".build"
PACKAGE = "push_sender"

OPERATIONS = {
    "dynamodb": ("BatchGetItem", "PutItem", "TransactWriteItems", "UpdateItem"),
    "events": ("PutEvents",),
    "pinpoint": ("SendMessages",),
    "s3": ("GetObject", "HeadBucket", "PutObject"),
    "scheduler": ("CreateSchedule", "DeleteSchedule", "GetSchedule"),
    "sqs": ("SendMessage",),
}
"""The services that the function calls, by botocore's names, and the operations that ship: the
whole models add 0.4 MB. HeadBucket is botocore's own way to find a bucket of another region."""

ENDPOINTS = "botocore/data/endpoints.json"
"""Every endpoint of every service. Reading its 1.25 MB takes a tenth of a cold start."""

# What does not ship: a pattern for the start of its path in the archive, and the reason.
PRUNED: tuple[tuple[str, str], ...] = (
    (r"bin/", "console scripts, which are not used in Lambda"),
    (r".+\.pyi$|.+/py\.typed$", "only type checkers read it"),
    (
        r"[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$",
        "pip's own records; RECORD also lists the files that are pruned here",
    ),
    (
        rf"botocore/data/(?!({'|'.join(OPERATIONS)})/)[^/]+/",
        "models of services that are never called (also sts and sso, because credentials come "
        "from the environment)",
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
    (r"pydantic/v1/", "version 1 of pydantic, for programs that still use it"),
    (r"pydantic/mypy\.py$", "mypy's plugin"),
    (r"dateutil/zoneinfo/.+\.tar\.gz$", "a second time zone database; the function uses only UTC"),
    (r"urllib3/contrib/emscripten/", "for browsers"),
)

# A change in one of these makes a new archive.
_BUILDERS = ("archive.py", "bytecode.py", "wheels.py", "../install/package_index.py")
_KEPT_ARCHIVES = 8  # of each kind and target under .build
_ABANDONED_AFTER = 3600  # seconds; longer than any build
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
        Whether it contains bytecode.
    wheels
        The SHA-256 of each wheel that its packages are from, by the name of the wheel.
    """

    path: Path
    size: int
    digest: str
    bytecode: bool
    wheels: Mapping[str, str] = field(default_factory=dict)


def build(
    target: Target, *, source: Path = SOURCE, out: Path = OUT, bytecode: bool = True
) -> Bundle:
    """Build the archive for a target, or return an earlier one from the same input.

    Several builds may run at once, and may be killed: a file under ``out`` is always complete.

    Parameters
    ----------
    target
        The platform of the archive.
    source
        The directory with ``requirements.txt`` and ``push_sender/``.
    out
        The directory of the archives, which is also the cache.
    bytecode
        Whether to compile bytecode, if this machine has the right Python.

    Raises
    ------
    BundleError
        If a file or a wheel is missing, differs from the lock or fits another platform, or if
        ``out`` cannot be written.

    Examples
    --------
    >>> build(LAMBDA_ARM64).path.name  # doctest: +SKIP
    'push-sender-lambda-arm64-2f9c0e6d1b7a4c55.zip'
    """
    try:
        return _build(target, source, out, bytecode=bytecode)
    except OSError as error:  # a full disk, a read-only folder
        raise BundleError(f"{error.filename or out}: {error.strerror}") from None


def _build(target: Target, source: Path, out: Path, *, bytecode: bool) -> Bundle:
    compiler = find_compiler(target.python) if bytecode else None
    if bytecode and compiler is None:
        log.warning(
            "no Python %s here: the bundle is without bytecode, which doubles the cold start",
            target.python,
        )
    lock = _read_lock(source / "requirements.txt")
    function = _read_function(source / PACKAGE)
    builders = [(Path(__file__).parent / name).read_bytes() for name in _BUILDERS]
    key = _key(builders, target, compiler and compiler.identity, lock)
    packages = out / f"packages-{target.name}-{key}.zip"
    bundle = out / f"push-sender-{target.name}-{_key(key, function)}.zip"

    out.mkdir(parents=True, exist_ok=True)
    if not (bundle.exists() and _list_of(packages).exists()):
        with tempfile.TemporaryDirectory(dir=out, prefix=UNFINISHED) as scratch:
            if not (packages.exists() and _list_of(packages).exists()):
                site = Path(scratch, "packages")
                wheels = _put_packages(site, lock, target, name=f"{source.name}/requirements.txt")
                if compiler is not None:
                    compile_all(site, compiler, keep_source=False)
                listed = Path(scratch, "wheels.json")
                listed.write_text(json.dumps(wheels))
                listed.replace(_list_of(packages))
                _archive(site, target, packages)
            site = Path(scratch, "function")
            _put_function(site, function)
            if compiler is not None:
                compile_all(site, compiler, keep_source=True)
            _archive(site, target, bundle, onto=packages)
    _tidy(out, target, in_use=(packages, bundle))
    content = bundle.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    wheels = json.loads(_list_of(packages).read_text())
    return Bundle(bundle, len(content), digest, bytecode=compiler is not None, wheels=wheels)


def _list_of(packages: Path) -> Path:
    """Name the file that lists the wheels of an archive of packages."""
    return packages.with_suffix(".wheels.json")


def _read_lock(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: it names the packages to ship") from None


def _read_function(directory: Path) -> dict[str, bytes]:
    """Read the function's files once, for both the key and the archive."""
    if not (directory / "__init__.py").is_file():
        raise BundleError(f"{directory} is missing, or is not a package: it has no __init__.py")
    return {
        f"{directory.name}/{name}": path.read_bytes()
        for name, path in _files(directory)
        if not re.search(r"(^|/)(\.|__pycache__/)", name)
    }


def _put_packages(site: Path, lock: str, target: Target, name: str) -> dict[str, str]:
    wheels = install_wheels(lock, target, site, name=name)
    for name, path in _files(site):
        if any(re.match(pattern, name) for pattern, _ in PRUNED):
            path.unlink()
    for service, operations in OPERATIONS.items():
        for model in site.glob(f"botocore/data/{service}/*/service-2.json.gz"):
            trimmed = _trimmed_model(gzip.decompress(model.read_bytes()), operations)
            model.write_bytes(gzip.compress(trimmed, mtime=0))
    endpoints = site / ENDPOINTS
    if endpoints.exists():
        endpoints.write_text(_trimmed_endpoints(endpoints.read_text()))
    return wheels


def _trimmed_endpoints(text: str) -> str:
    """Keep the endpoints of the services that the function calls, in all partitions."""
    document = json.loads(text)
    for partition in document["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in OPERATIONS if name in services}
    return json.dumps(document, separators=(",", ":"))


def _trimmed_model(text: bytes, operations: Sequence[str]) -> bytes:
    """Keep some operations of a service, and the shapes that they lead to."""
    model = json.loads(text)
    model["operations"] = {name: model["operations"][name] for name in operations}
    kept: dict[str, Any] = {}
    waiting = list(_shapes_in(model["operations"]))
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = model["shapes"][name]
            waiting += _shapes_in(kept[name])
    model["shapes"] = {name: kept[name] for name in sorted(kept)}
    return json.dumps(model, separators=(",", ":")).encode()


def _shapes_in(part: Any) -> Iterator[str]:
    """List the shapes that a part of a model names."""
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _shapes_in(each)


def _put_function(site: Path, function: dict[str, bytes]) -> None:
    for name, content in function.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _archive(site: Path, target: Target, archive: Path, *, onto: Path | None = None) -> None:
    """Add a directory's files to an archive, after those of another archive.

    They are sorted by name and contain nothing of this machine.
    """
    new = site.with_suffix(".zip")
    if onto is not None:
        shutil.copyfile(onto, new)
    with zipfile.ZipFile(new, "a") as writer:
        for name, path in _files(site):
            content = path.read_bytes()
            refuse_foreign(name, content, target)
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # Unix, also if built elsewhere
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            writer.writestr(entry, content, compresslevel=9)
    new.replace(archive)


def _files(directory: Path) -> list[tuple[str, Path]]:
    """List the files under a directory, sorted by their names in an archive."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return sorted((path.relative_to(directory).as_posix(), path) for path in paths)


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _tidy(out: Path, target: Target, *, in_use: tuple[Path, ...]) -> None:
    """Remove the rest of killed builds, and the oldest archives that are not in use."""
    for scratch in out.glob(f"{UNFINISHED}*"):
        if _modified(scratch) < time.time() - _ABANDONED_AFTER:
            shutil.rmtree(scratch, ignore_errors=True)
    for kind in ("packages", "push-sender"):
        archives = sorted(out.glob(f"{kind}-{target.name}-*.zip"), key=_modified)
        for archive in archives[:-_KEPT_ARCHIVES]:
            if archive not in in_use:
                archive.unlink(missing_ok=True)
                _list_of(archive).unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another build tidied first
        return time.time()
