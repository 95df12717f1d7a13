"""The files of a release: what they say, that they do not change, and when there is none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.bundle import Bundle, build
from infra.bundle.wheels import LAMBDA_ARM64, LAMBDA_X86_64
from infra.release.__main__ import write_release
from infra.release.bill_of_materials import bill_of_materials
from infra.release.errors import ReleaseError
from infra.release.source import notes_of, read_source
from infra.release.template import template_of
from infra.settings import SettingsError
from tests.support import releases
from tests.support.paths import REPOSITORY
from tests.support.releases import NoReleaseError
from tests.support.synthesized_stack import FLAGS, PROJECT, stub_bundle

VERSION = "1.2.3"
CHANGELOG = f"# Changelog\n\n## Unreleased\n\n## {VERSION} - 2026-12-01\n\n### Added\n\n- One.\n"
COMMIT_TIME = "2026-12-01T10:00:00+00:00"


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "someone" for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")}  # fmt: skip
    dates = {"GIT_AUTHOR_DATE": COMMIT_TIME, "GIT_COMMITTER_DATE": COMMIT_TIME}
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607  the git of this machine
        cwd=folder,
        env={**os.environ, **identity, **dates, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "release")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a small project under git."""
    folder = tmp_path / "project"
    module = folder / "lambda_src" / "push_sender" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(f'__version__ = "{VERSION}"\n')
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    commit(folder)
    return folder


# ------------------------------------------------------------------ where it is from


def test_a_release_is_of_the_commit_and_has_its_section_of_the_changelog(project: Path) -> None:
    source = read_source(project)

    assert source.version == VERSION
    assert source.commit == git(project, "rev-parse", "HEAD")
    assert source.time == datetime(2026, 12, 1, 10, tzinfo=UTC)
    assert source.notes == "### Added\n\n- One.\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("new.txt", "not under git"),
        ("CHANGELOG.md", CHANGELOG + "\n- Two.\n"),
    ],
)
def test_a_folder_that_differs_from_its_commit_is_refused(
    project: Path, name: str, content: str
) -> None:
    (project / name).write_text(content)

    with pytest.raises(ReleaseError, match=f"differ from it: {name}. Commit or remove them"):
        read_source(project)


def test_a_folder_without_git_is_refused(project: Path) -> None:
    shutil.rmtree(project / ".git")

    with pytest.raises(ReleaseError, match="not a git repository"):
        read_source(project)


@pytest.mark.parametrize(
    ("heading", "notes"),
    [
        ("## 1.2.3 - 2026-12-01", "- One.\n"),
        ("## [1.2.3] - 2026-12-01", "- One.\n"),
        ("## 1.2.3", None),
        ("## 1.2.30 - 2026-12-01", None),
        ("## 1x2x3 - 2026-12-01", None),
        ("## Unreleased", None),
    ],
)
def test_the_notes_are_the_section_of_the_version(heading: str, notes: str | None) -> None:
    changelog = f"# Changelog\n\n{heading}\n\n- One.\n\n## 1.2.2 - 2026-11-01\n\n- Older.\n"

    if notes is None:
        with pytest.raises(ReleaseError, match=r"CHANGELOG.md has no section of 1\.2\.3"):
            notes_of(VERSION, changelog)
    else:
        assert notes_of(VERSION, changelog) == notes


def test_an_empty_section_is_refused() -> None:
    with pytest.raises(ReleaseError, match="no section"):
        notes_of(VERSION, f"## {VERSION} - 2026-12-01\n\n## 1.2.2 - 2026-11-01\n\n- Older.\n")


# ------------------------------------------------------------------ the last release


def clone(project: Path, *options: str) -> Path:
    made = project.with_name("clone")
    git(project.parent, "clone", "-q", *options, project.as_uri(), str(made))
    return made


@pytest.fixture
def later(project: Path) -> str:
    """Go on after the release; return its commit."""
    released_at = git(project, "rev-parse", "HEAD")
    for version, changelog in (("1.2.4", CHANGELOG), ("1.2.5", CHANGELOG + "\n- Two.\n")):
        (project / "lambda_src/push_sender/__init__.py").write_text(f'__version__ = "{version}"\n')
        (project / "CHANGELOG.md").write_text(changelog)
        git(project, "commit", "-q", "-a", "-m", "later")
    return released_at


def test_a_release_is_the_commit_that_wrote_its_section(project: Path, later: str) -> None:
    assert releases.tagged(VERSION, project) is None
    git(project, "tag", f"v{VERSION}", later)
    assert releases.tagged(VERSION, project) == later
    assert releases.released(VERSION, clone(project, "--no-tags")) == later


def test_without_history_there_is_no_last_release(project: Path, later: str) -> None:
    shallow = clone(project, "--depth", "1", "--no-tags")

    for folder in (shallow, project.parent):
        assert releases.tagged(VERSION, folder) is None
        with pytest.raises(NoReleaseError, match=r"neither the tag v1\.2\.3 nor the history"):
            releases.released(VERSION, folder)


# ------------------------------------------------------------------ the template


def made(folder: Path, **context: Any) -> dict[str, Any]:
    return template_of({**FLAGS, **context}, stub_bundle(folder), "archive.zip")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("template"))


def test_the_template_needs_no_cdk(template: dict[str, Any]) -> None:
    functions = [
        resource
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) == 2
    for function in functions:
        assert function["Properties"]["Code"] == {
            "S3Bucket": {"Ref": "CodeBucket"},
            "S3Key": {"Fn::Sub": "${CodePrefix}archive.zip"},
        }
    text = json.dumps(template)
    for word in ("cdk-", "BootstrapVersion", "parameter/", "parameter.invalid"):
        assert word not in text, word


def test_each_channel_and_the_subscription_exist_only_if_their_parameter_is_set(
    template: dict[str, Any],
) -> None:
    conditional = {
        resource["Type"]: resource["Condition"]
        for resource in template["Resources"].values()
        if "Condition" in resource
    }
    assert conditional == {
        "AWS::Pinpoint::GCMChannel": "HasFcmSecret",
        "AWS::Pinpoint::APNSChannel": "HasApnsSecret",
        "AWS::Pinpoint::APNSSandboxChannel": "HasApnsSandboxSecret",
        "AWS::Pinpoint::APNSVoipChannel": "HasApnsVoipSecret",
        "AWS::Pinpoint::APNSVoipSandboxChannel": "HasApnsVoipSandboxSecret",
        "AWS::Pinpoint::BaiduChannel": "HasBaiduSecret",
        "AWS::Pinpoint::ADMChannel": "HasAdmSecret",
        "AWS::SNS::Subscription": "HasAlarmEmail",
    }
    assert set(template["Conditions"]) == set(conditional.values())


@pytest.mark.parametrize(
    ("context", "parameters"),
    [
        ({"fcm_secret": "my-app/fcm"}, {"FcmSecret"}),
        ({"apns_certificate_secret": "my-app/apns"}, {"ApnsSecret"}),
        ({"alarm_email": "on-call@example.com"}, {"AlarmEmail"}),
        ({"alarm_topic_arn": "arn:aws:sns:eu-west-1:123456789012:on-call"}, {"AlarmEmail"}),
        (
            {"application_id": PROJECT},
            {
                *("FcmSecret", "ApnsSecret", "ApnsSandboxSecret", "ApnsVoipSecret"),
                *("ApnsVoipSandboxSecret", "BaiduSecret", "AdmSecret"),
            },
        ),
    ],
)
def test_what_the_settings_fix_is_no_parameter(
    template: dict[str, Any], tmp_path: Path, context: dict[str, str], parameters: set[str]
) -> None:
    assert set(template["Parameters"]) - set(made(tmp_path, **context)["Parameters"]) == parameters


def test_invalid_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="memory_mb"):
        made(tmp_path, memory_mb=1)


def test_a_new_archive_is_a_new_version_of_the_function(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path)
    before = template_of(FLAGS, bundle, "a.zip")
    with zipfile.ZipFile(bundle.path, "a") as archive:
        archive.writestr("more.txt", "another archive")
    after = template_of(FLAGS, bundle, "b.zip")

    assert versions(before).isdisjoint(versions(after))


def versions(template: dict[str, Any]) -> set[str]:
    found = {
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Version"
    }
    assert len(found) == 2
    return found


# ------------------------------------------------------------------ the SBOM


@pytest.fixture(scope="module")
def archive() -> Bundle:
    return build(LAMBDA_ARM64)


def listed(bundle: Bundle) -> str:
    time = datetime(2026, 12, 1, tzinfo=UTC)
    return bill_of_materials(bundle, name="archive.zip", version=VERSION, time=time)


def test_the_sbom_is_valid_and_lists_what_the_archive_contains(archive: Bundle) -> None:
    text = listed(archive)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["hashes"][0]["content"] == archive.digest
    with zipfile.ZipFile(archive.path) as opened:
        contained = {
            name.partition(".dist-info/")[0].replace("_", "-").lower()
            for name in opened.namelist()
            if name.endswith(".dist-info/METADATA")
        }
    components = document["components"]
    assert contained == {
        f"{each['name']}-{each['version']}".replace("_", "-").lower() for each in components
    }
    lock = (REPOSITORY / "lambda_src" / "requirements.txt").read_text()
    for each in components:
        assert f"sha256:{each['hashes'][0]['content']}" in lock
        assert each["licenses"]


def test_a_package_from_no_known_wheel_is_refused(archive: Bundle) -> None:
    fewer = {name: digest for name, digest in archive.wheels.items() if "six" not in name}
    other = {**archive.wheels, "other-1.0-py3-none-any.whl": "0" * 64}

    for wheels, message in ((fewer, "six .* is from no known wheel"), (other, "nothing of other")):
        changed = Bundle(archive.path, archive.size, archive.digest, bytecode=True, wheels=wheels)
        with pytest.raises(ReleaseError, match=message):
            listed(changed)


# ------------------------------------------------------------------ the same bytes


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="releases are built with Python 3.13")
def test_another_folder_umask_time_zone_and_hash_seed_give_the_same_files(tmp_path: Path) -> None:
    # Given a copy of this project with a section of its version
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in ("app.py", "cdk.json", ".gitignore", "infra", "lambda_src"):
        take = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        take(REPOSITORY / name, copy / name)
    module = (copy / "lambda_src" / "push_sender" / "__init__.py").read_text()
    version = module.partition('__version__ = "')[2].partition('"')[0]
    (copy / "CHANGELOG.md").write_text(f"## {version} - 2026-12-01\n\n- One.\n")
    commit(copy)
    # And its packages, so that no index is asked
    (copy / ".build").mkdir()
    for target in (LAMBDA_ARM64, LAMBDA_X86_64):
        for file in build(target).path.parent.glob(f"packages-{target.name}-*"):
            shutil.copy(file, copy / ".build")
    # When it is built there and here
    with subprocess.Popen(
        [sys.executable, "-m", "infra.release"],
        cwd=copy,
        env={**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"},
        umask=0o077,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as there:
        source = read_source(copy)
        here = tmp_path / "here"
        write_release(source, here)
        output, _ = there.communicate(timeout=300)
    # Then all files are the same
    assert there.returncode == 0, output
    made_there = copy / "dist" / source.version
    assert digests(made_there) == digests(here)
    assert source.commit in output
    # And the checksums and the statement are about all of them
    lines = (here / "SHA256SUMS").read_text().splitlines()
    sums = {line.split("  ")[1]: line.split("  ")[0] for line in lines}
    assert sums == {name: sum_ for name, sum_ in digests(here).items() if name != "SHA256SUMS"}
    (statement,) = here.glob("*.provenance.json")
    told = json.loads(statement.read_text())
    subjects = {each["name"]: each["digest"]["sha256"] for each in told["subject"]}
    assert subjects == {name: sum_ for name, sum_ in sums.items() if name != statement.name}
    assert source.commit in statement.read_text()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
