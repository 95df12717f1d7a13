"""The bundle: what is in it, that it runs, and what goes wrong in one clear message.

Two bundles are really built from the function's lock, one for each target. All that does
not need those packages works on a wheel made here, without an index.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import marshal
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import boto3
import pytest
from botocore import xform_name
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.bundle import SOURCE, Bundle, BundleError, build
from infra.bundle.__main__ import main
from infra.bundle.archive import OPERATIONS, PRUNED
from infra.bundle.wheels import LAMBDA_ARM64, Target, this_machine
from infra.install.locks import EVERYTHING, FUNCTION, entries
from tests.support.bundles import elf, keep_pip_offline, lock_of, run_alone, write_function
from tests.support.paths import REPOSITORY

MEGABYTE = 1_000_000
CACHE_TAG = sys.implementation.cache_tag
ELF_MACHINES = {"aarch64": 0xB7, "x86_64": 0x3E}

# Everything that this issue and the later ones use of the packages.
NEEDED_IMPORTS = (
    "botocore.session",
    "pydantic",
    "aws_lambda_powertools.logging",
    "aws_lambda_powertools.metrics",
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.event_handler.openapi",
    "aws_lambda_powertools.utilities.batch",
    "aws_lambda_powertools.utilities.data_classes",
    "aws_lambda_powertools.utilities.parser",
    "aws_lambda_powertools.utilities.parser.envelopes",
    "aws_lambda_powertools.utilities.parser.models",
    "aws_lambda_powertools.utilities.typing",
)


def run_command(
    source: Path, *options: str, python: Path | str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run the module's command in a repository of this source and the real builder."""
    repository = source.parent
    if not (repository / "infra").exists():
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "infra", repository / "infra", ignore=without)
    return subprocess.run(
        [python, "-m", "infra.bundle", *options],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


def start_build(
    source: Path, out: Path, target: str = "LAMBDA_ARM64", **environment: str
) -> subprocess.Popen[str]:
    """Start a build in another process, which prints the archive's digest."""
    code = f"""
from pathlib import Path
from infra.bundle import build
from infra.bundle.wheels import LAMBDA_ARM64, this_machine
print(build({target}, source=Path({str(source)!r}), out=Path({str(out)!r})).digest)
"""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read_lock() -> dict[str, str]:
    """Read the function's lock, as ``{"botocore": "==1.2.3"}``."""
    pins = [Requirement(entry.split(" \\\n")[0]) for entry in entries(FUNCTION.read_text())]
    return {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}


def unpack(bundle: Bundle, directory: Path) -> Path:
    """Unpack as Lambda does: with the dates of the archive."""
    with zipfile.ZipFile(bundle.path) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, directory))
            then = time.mktime((*entry.date_time, 0, 0, -1))
            os.utime(path, (then, then))
    return directory


@pytest.fixture(scope="session")
def real_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    write_function(source)
    shutil.copy(SOURCE / "requirements.txt", source)
    return source


@pytest.fixture(scope="session")
def build_elsewhere(
    real_source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str]]:
    """Build for this machine in another process, place and environment, with a clean cache."""
    out = tmp_path_factory.mktemp("elsewhere") / "and-a-longer" / "place"
    environment = {"PYTHONHASHSEED": "77", "PYTHONOPTIMIZE": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    with start_build(real_source, out, "this_machine()", **environment) as running:
        yield running


@pytest.fixture(scope="session")
def real_bundles(real_source: Path, build_elsewhere: subprocess.Popen[str]) -> dict[Target, Bundle]:
    """Build for both targets at once, on packages that ``.build`` has, while the other runs."""
    with ThreadPoolExecutor() as pool:
        started = {
            target: pool.submit(build, target, source=real_source)
            for target in (LAMBDA_ARM64, this_machine())
        }
        return {target: running.result() for target, running in started.items()}


@pytest.fixture
def lambda_bundle(real_bundles: dict[Target, Bundle]) -> Bundle:
    return real_bundles[LAMBDA_ARM64]


@pytest.fixture(scope="session")
def local_bundle(real_bundles: dict[Target, Bundle]) -> Bundle:
    return real_bundles[this_machine()]


@pytest.fixture(params=["lambda", "local"])
def either(
    request: pytest.FixtureRequest, real_bundles: dict[Target, Bundle]
) -> tuple[Bundle, Target]:
    target = LAMBDA_ARM64 if request.param == "lambda" else this_machine()
    return real_bundles[target], target


@pytest.fixture(scope="session")
def unpacked(local_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(local_bundle, tmp_path_factory.mktemp("task"))


@pytest.fixture
def tiny_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keep_pip_offline(tmp_path / "wheels", monkeypatch)
    source = tmp_path / "lambda_src"
    write_function(source)
    (source / "requirements.txt").write_text(lock_of(tmp_path / "wheels", "tiny"))
    return source


# ------------------------------------------------------------------ what is in it


def test_the_bundle_for_lambda_stays_under_six_megabytes(lambda_bundle: Bundle) -> None:
    assert lambda_bundle.bytecode, "without bytecode the size says nothing"
    assert lambda_bundle.size < 6 * MEGABYTE


def test_the_bundle_describes_its_own_archive(either: tuple[Bundle, Target]) -> None:
    bundle, target = either
    content = bundle.path.read_bytes()
    assert bundle.size == len(content)
    assert bundle.digest == hashlib.sha256(content).hexdigest()
    assert target.name in bundle.path.name


def test_compiled_modules_are_built_for_the_targets_machine_and_python(
    either: tuple[Bundle, Target],
) -> None:
    bundle, target = either
    if sys.platform != "linux":
        pytest.skip("reads ELF headers")
    with zipfile.ZipFile(bundle.path) as archive:
        libraries = [name for name in archive.namelist() if ".so" in Path(name).suffixes]
        assert any(name.startswith("pydantic_core/") for name in libraries)
        for name in libraries:
            header = archive.read(name)[:20]
            assert header[:4] == b"\x7fELF", name
            assert struct.unpack("<H", header[18:20])[0] == ELF_MACHINES[target.machine], name
            assert name.endswith((f".{target.soabi}.so", ".abi3.so")), name


def test_no_pruned_or_temporary_file_ships(either: tuple[Bundle, Target]) -> None:
    bundle, target = either
    tag = f"cpython-{target.python.replace('.', '')}"
    with zipfile.ZipFile(bundle.path) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith("bin/")]
    assert not [name for name in names if re.search(r"dist-info/(RECORD|INSTALLER)", name)]
    assert not [name for name in names if "/tests/" in name or ".swp" in name]
    assert not [name for name in names if "__pycache__" in name and f".{tag}.pyc" not in name]
    models = {name.split("/")[2] for name in names if re.match("botocore/data/.+/", name)}
    assert models == set(OPERATIONS)
    assert len(names) == len(set(names))


def test_package_metadata_ships(either: tuple[Bundle, Target]) -> None:
    names = zipfile.ZipFile(either[0].path).namelist()
    assert any(re.match(r"pydantic-[\d.]+\.dist-info/METADATA", name) for name in names)
    assert any(re.match(r"botocore-[\d.]+\.dist-info/(licenses/)?LICENSE", name) for name in names)


def test_the_archive_holds_nothing_of_this_machine(either: tuple[Bundle, Target]) -> None:
    with zipfile.ZipFile(either[0].path) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == stat.S_IFREG | 0o644
            assert entry.create_system == 3
        ours = [name for name in archive.namelist() if name.startswith("push_sender/")]
        theirs = [name for name in archive.namelist() if not name.startswith("push_sender/")]
        assert archive.namelist() == sorted(theirs) + sorted(ours)
        assert str(REPOSITORY).encode() not in b"".join(map(archive.read, archive.namelist()))


def test_every_distribution_is_pinned_and_none_is_missing(unpacked: Path) -> None:
    shipped = {
        canonicalize_name(found.name): found
        for found in map(Distribution.at, unpacked.glob("*.dist-info"))
    }
    assert {name: f"=={found.version}" for name, found in shipped.items()} == read_lock()
    for found in shipped.values():
        for requirement in map(Requirement, found.requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            needed = shipped.get(canonicalize_name(requirement.name))
            assert needed, f"{found.name} requires {requirement}, which the lock does not pin"
            assert requirement.specifier.contains(needed.version), f"{found.name}: {requirement}"


def test_the_shipped_versions_are_those_tested_on_every_python() -> None:
    shipped = entries(FUNCTION.read_text())
    assert shipped == entries(EVERYTHING.read_text(), *read_lock())
    assert not [entry for entry in shipped if " ; " in entry]


def test_every_pruning_pattern_matches_something_and_has_a_reason() -> None:
    # The development environment holds the same versions.
    files = [
        str(file).removeprefix("../../../")
        for name in read_lock()
        for file in Distribution.from_name(name).files or []
    ]
    for pattern, reason in PRUNED:
        assert reason
        assert any(re.match(pattern, name) for name in files), pattern


# ------------------------------------------------------------------ that it runs


def test_the_function_imports_everything_from_the_bundle_only(unpacked: Path) -> None:
    code = """
import importlib, json
for name in {names!r}:
    importlib.import_module(name)
from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source
from aws_lambda_powertools.utilities.parser import BaseModel, parse
class Recipient(BaseModel):
    token: str
assert parse({{"token": "t"}}, Recipient).token == "t"
loaded = [m for m in sys.modules.values() if getattr(m, "__file__", None)]
print(json.dumps({{m.__name__: [m.__file__, m.__spec__.cached] for m in loaded if m.__spec__}}))
"""
    loaded = json.loads(run_alone(unpacked, code.format(names=NEEDED_IMPORTS)))
    ours = {name: places for name, places in loaded.items() if str(unpacked) in places[0]}
    assert set(NEEDED_IMPORTS) <= set(ours)
    foreign = [file for file, _ in loaded.values() if "site-packages" in file]
    assert not foreign
    uncompiled = [file for file, _ in ours.values() if not file.endswith((".pyc", ".so"))]
    assert not uncompiled


def test_a_pinpoint_client_works_from_the_bundle_only(unpacked: Path) -> None:
    code = """
import botocore.session, threading, http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"ApplicationId": "app", "Result": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = botocore.session.Session().create_client(
    "pinpoint", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
)
answer = client.send_messages(
    ApplicationId="app",
    MessageRequest={"Addresses": {"t": {"ChannelType": "GCM"}}, "MessageConfiguration": {}},
)
print(answer["MessageResponse"]["ApplicationId"])
"""
    assert run_alone(unpacked, code).split() == ["app"]


def test_every_operation_that_the_function_calls_ships() -> None:
    shipped = {xform_name(each) for operations in OPERATIONS.values() for each in operations}
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    called = set(re.findall(r"\bself\._client\.([a-z_]+)\(", source))

    assert shipped == {*called, "head_bucket"}


def test_an_s3_client_works_with_the_trimmed_model(unpacked: Path) -> None:
    code = """
import botocore.session, threading, http.server
from botocore.exceptions import ClientError
kept = {}
class Answer(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b"")
    def do_GET(self):
        self.answer(206, kept[self.path]) if self.path in kept else self.answer(
            404, b"<Error><Code>NoSuchKey</Code></Error>"
        )
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"tag"')
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = botocore.session.Session().create_client(
    "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
)
client.put_object(Bucket="bucket", Key="key", Body=b"rows")
answer = client.get_object(Bucket="bucket", Key="key", Range="bytes=0-3", IfMatch="tag")
print(answer["Body"].read().decode(), answer["ETag"])
try:
    client.get_object(Bucket="bucket", Key="other")
except ClientError as error:
    print(error.response["Error"]["Code"])
"""
    assert run_alone(unpacked, code).split() == ["rows", '"tag"', "NoSuchKey"]


def test_the_trimmed_endpoints_equal_those_of_botocore(unpacked: Path) -> None:
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b")
    partitions = session.get_available_partitions()
    regions = [
        *(
            region
            for name in partitions
            for region in session.get_available_regions("pinpoint", name)
        ),
        "cn-north-1",
        "xx-nowhere-1",
    ]
    code = f"""
import botocore.session, json
session = botocore.session.Session()
session.set_credentials("a", "b")
clients = [session.create_client("pinpoint", region_name=name) for name in {regions}]
urls = [client.meta.endpoint_url for client in clients]
print(json.dumps(urls))
"""
    whole = [session.client("pinpoint", region_name=name).meta.endpoint_url for name in regions]

    assert len(regions) > 10
    assert json.loads(run_alone(unpacked, code)) == whole


def test_the_openapi_document_comes_from_the_bundle_only(unpacked: Path) -> None:
    code = """
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import BaseModel
class Push(BaseModel):
    token: str
app = APIGatewayHttpResolver(enable_validation=True)
@app.post("/messages")
def send(push: Push) -> Push:
    return push
print(app.get_openapi_json_schema())
"""
    assert "/messages" in json.loads(run_alone(unpacked, code))["paths"]


def test_the_function_ships_with_its_source_and_the_packages_without(
    tiny_source: Path, tmp_path: Path
) -> None:
    bundle = build(this_machine(), source=tiny_source, out=tmp_path / "out")
    task = unpack(bundle, tmp_path / "task")
    assert (task / "push_sender" / "__init__.py").read_text() == "ANSWER = 42\n"
    assert [path.name for path in (task / "tiny").iterdir()] == ["__init__.pyc"]
    code = "import push_sender, tiny; print(push_sender.__spec__.cached, tiny.SIZE)"
    cached, size = run_alone(task, code).split()
    assert Path(cached).is_file()
    assert size == "1"


def test_bytecode_is_unchecked_and_has_lambdas_paths(local_bundle: Bundle, unpacked: Path) -> None:
    compiled = list(unpacked.rglob("*.pyc"))
    assert len(compiled) > 300
    for path in compiled:
        content = path.read_bytes()
        assert content[:4] == MAGIC_NUMBER, "made by this interpreter"
        assert content[4:8] == b"\x01\x00\x00\x00", "hash-based and unchecked, PEP 552"
        source = path.relative_to(unpacked)
        if source.parent.name == "__pycache__":
            source = source.parent.parent / source.name.replace(f".{CACHE_TAG}", "")
        code = marshal.loads(content[16:])  # noqa: S302  compiled by us
        assert code.co_filename == f"/var/task/{source.with_suffix('.py').as_posix()}"
    assert local_bundle.bytecode


# ------------------------------------------------------------------ the same bytes


def test_the_same_input_gives_the_same_bytes_from_another_clean_cache(
    local_bundle: Bundle, build_elsewhere: subprocess.Popen[str]
) -> None:
    digest, complaints = build_elsewhere.communicate(timeout=120)
    assert digest.strip() == local_bundle.digest, complaints


def test_a_changed_function_is_rebuilt_without_pip_and_a_reverted_one_is_cached(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bundle, and then no wheel to be had anywhere
    first = build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    # When the function changes, and changes back
    code = tiny_source / "push_sender" / "__init__.py"
    code.write_text("ANSWER = 43\n")
    changed = build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")
    code.write_text("ANSWER = 42\n")
    date = first.path.stat().st_mtime_ns
    back = build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")
    # Then only the changed one is another archive
    assert changed.digest != first.digest
    assert back == first
    assert back.path.stat().st_mtime_ns == date
    # And other requirements do ask pip
    lock = (tiny_source / "requirements.txt").read_text()
    (tiny_source / "requirements.txt").write_text(lock.replace("tiny==1.0", "tiny==1.1"))
    with pytest.raises(BundleError, match=r"no wheel of tiny==1\.1"):
        build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")


def test_a_changed_builder_causes_a_new_build(tiny_source: Path) -> None:
    archives = [run_command(tiny_source).stdout.splitlines()[0]]
    for module in ("archive.py", "bytecode.py", "wheels.py"):
        with (tiny_source.parent / "infra" / "bundle" / module).open("a") as builder:
            builder.write("# changed\n")
        archives.append(run_command(tiny_source).stdout.splitlines()[0])
    assert len(set(archives)) == 4


def test_the_cache_keeps_a_few_archives(tiny_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(10):
        (tiny_source / "push_sender" / "__init__.py").write_text(f"ANSWER = {number}\n")
        bundle = build(LAMBDA_ARM64, source=tiny_source, out=out)
        assert bundle.path.is_file()
    assert len(list(out.glob("push-sender-*"))) == 8
    assert len(list(out.glob("packages-*.zip"))) == 1


# ------------------------------------------------------------------ several, and killed


def test_concurrent_builds_give_one_archive(tiny_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    builds = [start_build(tiny_source, out) for _ in range(2)]
    answers = [running.communicate(timeout=60) for running in builds]
    assert answers[0] == answers[1]
    assert re.fullmatch(r"[0-9a-f]{64}\n", answers[0][0])
    assert sorted(path.name.rsplit("-", 1)[0] for path in out.glob("*.zip")) == [
        "packages-lambda-arm64",
        "push-sender-lambda-arm64",
    ]
    assert len(list(out.iterdir())) == 3  # and the list of the packages' wheels


def test_a_killed_build_leaves_nothing_that_breaks_the_next(
    tiny_source: Path, tmp_path: Path
) -> None:
    # Given a build that is killed while pip runs
    out = tmp_path / "out"
    running = start_build(tiny_source, out)
    while not list(out.glob(".unfinished-*/.unfinished-*/site")):
        assert running.poll() is None, "the build ended before it could be killed"
        time.sleep(0.002)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    left = list(out.iterdir())
    assert left
    assert not list(out.glob("*.zip"))
    # When it is built again, an hour later
    long_ago = time.time() - 7200
    for path in left:
        os.utime(path, (long_ago, long_ago))
    bundle = build(LAMBDA_ARM64, source=tiny_source, out=out)
    # Then the archive is whole, and what was left is gone
    assert zipfile.ZipFile(bundle.path).testzip() is None
    assert not list(out.glob(".unfinished-*"))


# ------------------------------------------------------------------ what goes wrong


def test_an_interpreter_without_pip_gives_one_message(tiny_source: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    result = run_command(tiny_source, python=tmp_path / "bare" / "bin" / "python")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "has no pip" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_compiled_file_of_another_platform_does_not_ship(
    tiny_source: Path, tmp_path: Path
) -> None:
    library = tiny_source / "push_sender" / "fast.so"
    library.write_bytes(elf(ELF_MACHINES["x86_64"]))
    with pytest.raises(BundleError, match=r"push_sender/fast\.so is made for x86_64"):
        build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")
    assert not list((tmp_path / "out").glob("push-sender-*"))
    library.write_bytes(elf(ELF_MACHINES["aarch64"]))
    bundle = build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")
    assert "push_sender/fast.so" in zipfile.ZipFile(bundle.path).namelist()


def test_a_folder_without_the_function_or_its_lock_is_named(
    tiny_source: Path, tmp_path: Path
) -> None:
    (tiny_source / "requirements.txt").unlink()
    with pytest.raises(BundleError, match=r"requirements\.txt is missing"):
        build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")
    (tiny_source / "requirements.txt").write_text("tiny==1.0\n")
    shutil.rmtree(tiny_source / "push_sender")
    with pytest.raises(BundleError, match="push_sender is missing"):
        build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")


def test_an_unwritable_folder_gives_one_message(tiny_source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(BundleError, match=r"/out: (File exists|Not a directory)$"):
        build(LAMBDA_ARM64, source=tiny_source, out=tmp_path / "out")


def test_a_full_disk_gives_one_message(tiny_source: Path, tmp_path: Path) -> None:
    size = 40_000  # of any one file, in place of the whole disk
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    (tiny_source / "push_sender" / "large.bin").write_bytes(os.urandom(2 * size))
    started = f"{code}\nimport sys; from infra.bundle.__main__ import main; sys.exit(main())"
    run_command(tiny_source, "--help")  # which copies the builder there
    result = subprocess.run(
        [sys.executable, "-c", started],
        cwd=tiny_source.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert run_command(tiny_source).returncode == 0  # and the next run goes on


def test_without_an_interpreter_of_the_targets_version_the_sources_ship(
    tiny_source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = dataclasses.replace(LAMBDA_ARM64, python="3.99", abi="cp399")
    with caplog.at_level(logging.WARNING):
        bundle = build(target, source=tiny_source, out=tmp_path / "out")
    assert bundle.bytecode is False
    assert "doubles the cold start" in caplog.text
    names = zipfile.ZipFile(bundle.path).namelist()
    assert {"tiny/__init__.py", "push_sender/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_without_bytecode_requested_the_sources_ship_without_a_warning(
    tiny_source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = build(this_machine(), source=tiny_source, out=tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        bundle = build(this_machine(), source=tiny_source, out=tmp_path / "out", bytecode=False)
    assert (compiled.bytecode, bundle.bytecode) == (True, False)
    assert caplog.text == ""
    names = zipfile.ZipFile(bundle.path).namelist()
    assert "tiny/__init__.py" in names
    assert not [name for name in names if name.endswith(".pyc")]


# ------------------------------------------------------------------ the command


def test_the_command_builds_for_lambda_and_prints_the_result(tiny_source: Path) -> None:
    result = run_command(tiny_source)
    assert result.returncode == 0, result.stderr
    path, *rest = result.stdout.splitlines()
    assert Path(path).parent == tiny_source.parent / ".build"
    assert [line.split()[0] for line in rest] == ["for", "size", "sha256", "bytecode"]
    assert "CPython 3.13 on aarch64" in rest[0]
    assert re.search(r"\d\.\d\d MB zipped$", rest[1])
    assert rest[2].endswith(hashlib.sha256(Path(path).read_bytes()).hexdigest())
    assert "Traceback" not in result.stderr


def test_the_command_builds_for_this_machine_on_request(tiny_source: Path, tmp_path: Path) -> None:
    result = run_command(tiny_source, "--target", "local", "--out", str(tmp_path / "elsewhere"))
    assert Path(result.stdout.splitlines()[0]).parent == tmp_path / "elsewhere"
    assert "bytecode  compiled in" in result.stdout


def test_the_command_explains_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "--target {lambda,local}" in capsys.readouterr().out
