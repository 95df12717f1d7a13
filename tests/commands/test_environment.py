"""A developer's shell and home: local commands work, or print one clear line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bundle import build
from infra.bundle.wheels import this_machine
from infra.settings import SettingsError
from sandbox.environment import isolate
from sandbox.running import runtime_packages
from sandbox.stack.account import committed_context
from tests.support.paths import REPOSITORY

NOWHERE = "http://127.0.0.1:9"

PROXIES = {
    name: NOWHERE
    for lower in ("http_proxy", "https_proxy", "all_proxy")
    for name in (lower, lower.upper())
}

SHELL = {
    "AWS_PROFILE": "of-another-machine",
    "AWS_REGION": "nowhere",
    "AWS_ENDPOINT_URL": NOWHERE,
    "AWS_ENDPOINT_URL_LAMBDA": NOWHERE,
    "AWS_CA_BUNDLE": "/nonexistent",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_RETRY_MODE": "never",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_DEFAULT_OUTPUT": "rhyme",
    "AWS_PAGER": "false",
    "AWS_SDK_LOAD_CONFIG": "1",
    "AWS_LAMBDA_FUNCTION_NAME": "other",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9",
    "POWERTOOLS_LOG_LEVEL": "LOUD",
    "POWERTOOLS_DEV": "true",
    "MOTO_ACCOUNT_ID": "1",
    "CDK_OUTDIR": "/nonexistent",
    "CDK_CONTEXT_JSON": "{",
    "FORCE_COLOR": "1",
    "COLUMNS": "20",
    "LC_ALL": "C",
    **PROXIES,
}

OF_PYTHON = {
    "PYTHONSAFEPATH": "1",
    "PYTHONPATH": "/nonexistent",
    "PYTHONHOME": "/nonexistent",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "latin-1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "NODE_OPTIONS": "--require /nonexistent",
    "NODE_ENV": "production",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a home folder whose AWS files are broken."""
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True)
    for name in ("config", "credentials"):
        (folder / name).write_text("default]\n")
    return folder.parent


def make(
    target: str, *variables: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a target of the Makefile, which takes all that it needs for installed."""
    parts = [f"--assume-old=.venv/has-{part}" for part in ("demo", "deploy", "inbox", "sandbox")]
    return subprocess.run(
        [shutil.which("make") or "make", "--no-print-directory", *parts, target, *variables],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_demo_works_with_any_shell_settings_of_aws_proxies_and_python(home: Path) -> None:
    runtime_packages()  # what is fetched once, through the proxy that there is
    build(this_machine())
    without = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    environment = {**without, **SHELL, **OF_PYTHON, "HOME": str(home)}

    demo = make("demo", environment={**environment, "NO_PROXY": "example.com"})

    assert (demo.returncode, demo.stderr) == (0, "")
    assert "4 accepted" in demo.stdout


@pytest.mark.usefixtures("node_modules")  # they cannot be fetched by way of that proxy
def test_synth_takes_settings_and_needs_no_account_with_any_shell_settings(
    home: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, **SHELL, **OF_PYTHON, "HOME": str(home)}
    environment["CDK_VALIDATION"] = "false"  # 5 s; the checks of the template do it once
    files = {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}  # those of the home folder
    environment = {name: value for name, value in environment.items() if name not in files}

    arguments = f"ARGS=-c log_retention_days=7 --output {tmp_path / 'out'}"
    synth = make("synth", arguments, environment=environment)

    assert synth.returncode == 0, synth.stderr
    template = json.loads((tmp_path / "out" / "push-sender.template.json").read_text())
    groups = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    ]
    assert groups == [{"RetentionInDays": 7}] * 3  # the two functions', and the HTTP API's


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "example.com"}, "example.com,127.0.0.1,localhost"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_loopback_is_reached_directly_and_other_hosts_by_the_proxy(
    before: dict[str, str], after: str
) -> None:
    environment = {**before, "HTTPS_PROXY": "http://proxy.example.com"}
    isolate(environment)
    assert (environment["no_proxy"], environment["NO_PROXY"]) == (after, after)
    assert environment["HTTPS_PROXY"] == "http://proxy.example.com"


def test_the_shells_account_is_removed_from_the_environment() -> None:
    environment = {**SHELL, "PATH": "/bin"}
    isolate(environment)
    left = {name for name in environment if name.startswith(("AWS_", "CDK_", "POWERTOOLS_"))}
    assert left == {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"}
    assert environment["PATH"] == "/bin"


# ------------------------------------------------------------------ one line, no traceback


@pytest.mark.parametrize("port", ["80000", "-1", "four", "", "٤٥٨٠"])
def test_an_invalid_port_gives_one_line(port: str) -> None:
    refused = make("sandbox", f"PORT={port}", environment=dict(os.environ))

    (line, *of_make) = refused.stderr.splitlines()
    assert refused.returncode != 0
    assert line.endswith("argument --port: must be a whole number from 0 to 65535")
    assert all(other.startswith("make") for other in of_make)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{\n  "app": "x",,\n}', "cdk.json, line 2, column 14: "),
        (b'{"app": "\n', "cdk.json, line 1, column 10: "),
        (b"", "cdk.json, line 1, column 1: "),
        (b"[]", "cdk.json: must be an object"),
        (b'{"context": 5}', "cdk.json: must be an object"),
        (b'{"context": "\xff"}', "cdk.json: must be UTF-8"),
        (None, "cdk.json: No such file or directory"),
    ],
)
def test_a_broken_cdk_json_is_reported_with_its_position(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "cdk.json").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        committed_context(tmp_path / "cdk.json")
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_ctrl_c_ends_the_app_without_a_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-v", "app.py"],  # it prints each import
        cwd=REPOSITORY,
        env={**os.environ, "CDK_OUTDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as running:
        assert running.stderr is not None
        assert any(line.startswith("import 'infra.settings'") for line in running.stderr)
        running.send_signal(signal.SIGINT)
        _, output = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGINT
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("target", "option"),
    [("deploy", "--require-approval never"), ("destroy", "--force")],
)
def test_without_a_terminal_the_message_names_the_option_to_add(
    tmp_path: Path, target: str, option: str
) -> None:
    done = shutil.which("true") or "true"  # in place of the CDK, and of Python
    (tmp_path / "python").symlink_to(done)
    programs = (f"--assume-old={done}", f"CDK={done}", f"BIN={tmp_path}")

    without = make(target, *programs, "ARGS=-c stage=a", environment=dict(os.environ))
    given = make(target, *programs, f"ARGS=-c stage=a {option}", environment=dict(os.environ))

    assert f'make {target} ARGS="-c stage=a {option}"' in without.stderr
    assert (without.returncode, given.returncode, given.stderr) == (0, 0, "")
