"""Checks of the stack by other tools; each is also shown to report something broken.

The synth on an empty machine, cfn-lint, cdk-nag, and a snapshot of the template for review,
which ``make snapshot`` writes.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # cfn-lint brings it, without its types

from infra.acknowledgement import acknowledge
from infra.bundle import build
from infra.bundle.wheels import LAMBDA_ARM64
from infra.release.template import template_of
from infra.settings import Settings, SettingsError
from sandbox.services import RESOURCE_TYPES
from tests.support.paths import REPOSITORY
from tests.support.synthesized_stack import (
    CERTIFICATES,
    FLAGS,
    FULL,
    GUARDED,
    PROJECT,
    Synthesis,
    add_stack,
    new_app,
    read,
    stub_bundle,
    synthesize,
)

# isort: split
import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks
from constructs import IConstruct

REGIONS: Final = ["us-east-1", "eu-west-1", "ap-southeast-2"]
PINPOINT: Final = "AWS::Pinpoint::"
JWTS: Final = ("jwt_issuer", "jwt_audience", "http_jwt")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Everything there is."""
    return synthesize(tmp_path_factory.mktemp("full"), FULL)


# ------------------------------------------------------------------ on a machine with nothing

NO_NETWORK_PYTHON = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError("the network was used")
sys.addaudithook(refuse)
"""

NO_NETWORK_NODE = """
const refuse = () => { throw new Error("the network was used"); };
require("net").Socket.prototype.connect = refuse;
require("dns").lookup = refuse;
"""

NO_DOCKER = """#!/bin/sh
echo "Docker was used" >&2
exit 1
"""

# jsii unpacks the CDK under the home directory, half a minute's work; on Linux and on macOS.
JSII_CACHES = (Path(".cache/aws/jsii"), Path("Library/Caches/com.amazonaws.jsii"))


def prepare_nothing(folder: Path) -> dict[str, str]:
    """Make the environment of a machine without credentials, Docker or network."""
    home, tools = folder / "home", folder / "tools"
    tools.mkdir()
    (tools / "sitecustomize.py").write_text(NO_NETWORK_PYTHON)
    (tools / "no-network.cjs").write_text(NO_NETWORK_NODE)
    (tools / "docker").write_text(NO_DOCKER)
    (tools / "docker").chmod(0o755)
    for cache in JSII_CACHES:
        if (Path.home() / cache).is_dir():
            (home / cache.parent).mkdir(parents=True)
            (home / cache).symlink_to(Path.home() / cache)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tools}{os.pathsep}{REPOSITORY}",
        "NODE_OPTIONS": f"--require {tools / 'no-network.cjs'}",
        # For any other program: a port that nothing listens on.
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    }


def synthesize_alone(
    program: Path, folder: Path, settings: Mapping[str, str], *, validated: bool
) -> list[str]:
    """Run a CDK app on an empty machine; give its output, network requests and warnings.

    It writes to ``cdk.out`` under the folder.
    """
    out = folder / "cdk.out"
    environment = prepare_nothing(folder) | {
        "CDK_CONTEXT_JSON": json.dumps({**FLAGS, **settings}),
        "CDK_OUTDIR": str(out),
        "CDK_VALIDATION": str(validated).lower(),
    }
    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [*result.stdout.splitlines(), *result.stderr.splitlines()]
    if result.returncode:
        return [*complaints, f"exit status {result.returncode}"]
    manifest = json.loads((out / "manifest.json").read_text())
    complaints += [f"look-up of {missing['provider']}" for missing in manifest.get("missing", [])]
    # What the command line prints after a synth.
    for path in out.glob("*.metadata.json"):
        for entries in json.loads(path.read_text()).values():
            complaints += [
                entry["data"]
                for entry in entries
                if entry["type"] in ("aws:cdk:warning", "aws:cdk:error")
            ]
    return complaints


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Run app.py on such a machine, with the CDK's own validation, once the archive is built."""
    build(LAMBDA_ARM64)
    folder = tmp_path_factory.mktemp("alone")
    return synthesize_alone(REPOSITORY / "app.py", folder, FULL, validated=True), folder / "cdk.out"


def test_a_synth_needs_no_environment_and_gives_no_warning(alone: tuple[list[str], Path]) -> None:
    complaints, _ = alone
    assert complaints == []


def test_a_synth_reports_no_flags_for_services_that_the_stack_does_not_have(
    alone: tuple[list[str], Path],
) -> None:
    artifacts = json.loads((alone[1] / "manifest.json").read_text())["artifacts"]
    assert not [name for name, each in artifacts.items() if "flag" in each["type"]]


def test_the_app_gives_the_same_template_as_these_tests(
    alone: tuple[list[str], Path], full: Synthesis
) -> None:
    assert readable(read(alone[1], "push-sender").template) == readable(full.template)


def test_the_cdks_validation_reports_only_the_acknowledged_end_of_support(
    alone: tuple[list[str], Path], full: Synthesis
) -> None:
    (report,) = json.loads((alone[1] / "validation-report.json").read_text())["pluginReports"]
    acknowledged = sorted(
        (found["ruleName"], violating["cloudFormationResource"]["logicalId"])
        for found in report["suppressedViolations"]
        for violating in found["violatingConstructs"]
    )
    assert report["violations"] == []
    assert acknowledged == sorted(("W3696", id_) for id_ in full.of_type(PINPOINT))


BROKEN_APP = """
import infra
import aws_cdk as cdk
app = cdk.App(analytics_reporting=False)
here = cdk.Environment(account="123456789012", region="eu-west-1")
stack = cdk.Stack(app, "Broken", env=here)
{broken}
app.synth()
"""

NEEDY_APP = """
import boto3
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_ssm as ssm
from urllib.request import ProxyHandler, build_opener

def report(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error)

ssm.StringParameter.value_from_lookup(stack, "/app/id")
cdk.Annotations.of(stack).add_warning("[Warning] mind the gap")
report(boto3.client("sts", region_name="eu-west-1").get_caller_identity)
report(lambda: build_opener(ProxyHandler({})).open("http://192.0.2.1/"))
image = cdk.DockerImage.from_registry("python:3.13")
bundling = cdk.BundlingOptions(image=image, command=["true"])
report(lambda: assets.Asset(stack, "Asset", path="lambda_src", bundling=bundling))
"""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run an app that needs all that there is not; give what is said about it."""
    folder = tmp_path_factory.mktemp("needy")
    program = folder / "app.py"
    program.write_text(BROKEN_APP.format(broken=NEEDY_APP))
    return "\n".join(synthesize_alone(program, folder, {}, validated=False))


@pytest.mark.parametrize(
    "complaint",
    [
        *("look-up of ssm", "NoCredentialsError", "the network was used", "Docker was used"),
        "[Warning]",
    ],
)
def test_an_app_that_needs_more_is_detected(complaint: str, complaints: str) -> None:
    assert complaint in complaints


def test_a_template_that_cloudformation_would_refuse_ends_the_synth(tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    broken = 'cdk.CfnResource(stack, "Queue", type="AWS::SQS::Queue", properties={"Colour": 1})'
    program.write_text(BROKEN_APP.format(broken=broken))
    complaints = synthesize_alone(program, tmp_path, {}, validated=True)
    assert complaints[-1] == "exit status 1"
    assert "Colour" in "\n".join(complaints)


def test_the_cdks_node_has_no_network_in_these_tests_either(tmp_path: Path) -> None:
    result = subprocess.run(
        [os.environ["JSII_NODE"], "-e", "require('net').connect(9, '127.0.0.1')"],
        env=prepare_nothing(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the network was used" in result.stderr


# ------------------------------------------------------------------ cfn-lint


def lint_findings(template: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Have cfn-lint look, in all regions; give its checks, each with the resource."""
    # Here, because it is a third of what each worker would import before its first test.
    from cfnlint.api import lint  # type: ignore[import-untyped]  # it comes without its types

    return sorted(
        (found.rule.id, str(found.path[1]) if len(found.path) > 1 else "")
        for found in lint(json.dumps(template), regions=REGIONS)
    )


def test_cfn_lint_finds_nothing(full: Synthesis, tmp_path: Path) -> None:
    assert lint_findings(full.template) == []
    assert lint_findings(template_of(FLAGS, stub_bundle(tmp_path), "release.zip")) == []


@pytest.mark.parametrize(
    "settings",
    [
        {**CERTIFICATES, "stage": "dev", "retain_data": "false", "architecture": "x86_64"},
        {
            "application_id": PROJECT,
            "alarm_topic_arn": "arn:aws:sns:eu-west-1:123456789012:on-call",
            "log_level": "WARN",
            "devices": "false",
        },
        {**GUARDED, "http_api": "false", **dict.fromkeys(JWTS)},
    ],
    ids=["certificates", "existing", "guarded, no API"],
)
def test_cfn_lint_finds_nothing_in_stacks_of_other_teams(
    settings: dict[str, str], tmp_path: Path
) -> None:
    assert lint_findings(synthesize(tmp_path, settings).template) == []


def test_every_offered_log_retention_is_valid() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_context({"log_retention_days": "0"})
    offered = [int(days) for days in re.findall(r"\d+", str(caught.value))]
    assert len(offered) > 20
    logs = {
        f"For{days}Days": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": days}}
        for days in [*offered, 31]
    }
    found = {where for check, where in lint_findings({"Resources": logs}) if check.startswith("E")}
    assert found == {"For31Days"}


def test_each_rule_that_cfn_lint_ignores_would_report_something(full: Synthesis) -> None:
    bare = copy.deepcopy(full.template)
    ignored = []
    for id_, resource in bare["Resources"].items():
        result = resource.pop("Metadata", {}).get("cfn-lint")
        if result is not None:
            assert result["reason"]
            ignored += [(check, id_) for check in result["config"]["ignore_checks"]]
    assert "cfn-lint" not in bare.get("Metadata", {})
    assert ignored
    assert sorted(ignored) == lint_findings(bare)


def test_the_sandbox_replaces_a_resource_when_cloudformation_does(full: Synthesis) -> None:
    replaced_by = {model.type_name: model.replaced_by for model in RESOURCE_TYPES}
    used = {
        (made["Type"], name)
        for made in full.template["Resources"].values()
        for name in made.get("Properties", {})
        if made["Type"] in replaced_by
    }
    # Cfn-lint takes a second to import, and the workers that run other files do not need it.
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]  # it comes without its types

    # CloudFormation's own schemas of its types, which cfn-lint ships.
    schema = {
        type_: PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGIONS[0], type_).schema
        for type_ in {type_ for type_, _ in used}
    }
    replacing = {
        (type_, name)
        for type_, name in used
        if f"/properties/{name}" in schema[type_].get("createOnlyProperties", ())
    }
    assert len(replacing) > 10
    assert {each for each in replacing if each[1] not in replaced_by[each[0]]} == set()


# ------------------------------------------------------------------ cdk-nag


class UnacknowledgedChecks(AwsSolutionsChecks):
    """cdk-nag's pack under a name that no acknowledgement has, so that it reports everything."""

    def __init__(self) -> None:
        super().__init__()
        self._pack_name = "UnacknowledgedChecks"


def nag_findings(app: cdk.App, folder: Path) -> set[tuple[str, str]]:
    """Have cdk-nag look at an app while it is synthesized; give its rules, each with a path."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    report = json.loads((folder / "cdk.out" / "validation-report.json").read_text())
    return {
        (found["ruleName"], violating["constructPath"])
        for plugin in report["pluginReports"]
        for found in plugin["violations"]
        for violating in found["violatingConstructs"]
    }


def new_nag_app(folder: Path, settings: Mapping[str, str] = FULL) -> cdk.App:
    """Make an app of our stack with everything there is."""
    # What the CDK's command line sets, too: findings go into the report, not on the screen.
    app = new_app(folder, **{"@aws-cdk/core:failSynthOnValidationErrors": False})
    add_stack(app, stub_bundle(folder), settings)
    return app


def the_stack(app: cdk.App) -> cdk.Stack:
    stack = app.node.find_child("push-sender")
    assert isinstance(stack, cdk.Stack)
    return stack


def acknowledgements(app: cdk.App) -> Iterator[tuple[IConstruct, str, str]]:
    """Find every acknowledgement of cdk-nag's rules: where it is, its rule and its reason."""
    for construct in app.node.find_all():
        for entry in construct.node.metadata:
            if entry.type == cdk.Validations.ACKNOWLEDGED_RULES_METADATA_KEY:
                for id_, reason in entry.data.items():
                    rule = id_.removeprefix("Annotation::")
                    if not rule.startswith("CloudFormation-Validate::"):
                        yield construct, rule, reason


def misplaced_or_stale(app: cdk.App) -> list[str]:
    """Find acknowledgements that cover more than a resource of their own, or nothing at all."""
    everything = {
        (violation.rule_name.removeprefix("UnacknowledgedChecks-"), resource.construct_path or "")
        for violation in UnacknowledgedChecks().validate_scope(app).violations
        for resource in violation.violating_resources
    }
    faults = []
    for construct, id_, reason in acknowledgements(app):
        path = construct.node.path
        assert reason
        own = construct if cdk.CfnResource.is_cfn_resource(construct) else None
        if (own or construct.node.default_child) is None:
            faults.append(f"{path}: {id_} is acknowledged for more than one resource")
        rule = id_.removeprefix("AwsSolutions-")
        if not any(
            found == rule and f"{where}/".startswith(f"{path}/") for found, where in everything
        ):
            faults.append(f"{path}: {id_} is acknowledged and never found")
    return faults


@pytest.mark.parametrize("settings", [FULL, GUARDED], ids=["full", "guarded"])
def test_all_findings_of_cdk_nag_are_acknowledged(
    settings: Mapping[str, str], tmp_path: Path
) -> None:
    assert nag_findings(new_nag_app(tmp_path, settings), tmp_path) == set()


def test_each_acknowledgement_covers_one_resource_and_is_needed(tmp_path: Path) -> None:
    app = new_nag_app(tmp_path)
    assert len(list(acknowledgements(app))) >= 2
    assert misplaced_or_stale(app) == []


ACCEPTED: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("accepted_findings.toml").read_text()
)
PREFIX: Final = "push-sender/PushSender/"


def pack_findings(app: cdk.App) -> set[tuple[str, str]]:
    """Have the packs for HIPAA and NIST look at an app; give their rules, each with a construct."""
    return {
        (
            violation.rule_name.split("-", 1)[1],
            str(resource.construct_path).removeprefix(PREFIX).removesuffix("/Resource"),
        )
        for pack in (HIPAASecurityChecks(app), NIST80053R5Checks(app))
        for violation in pack.validate_scope(app).violations
        for resource in violation.violating_resources
    }


@pytest.mark.parametrize(
    ("settings", "lists"),
    [(FULL, ("constructs", "unguarded")), (GUARDED, ("constructs",))],
    ids=["full", "guarded"],
)
def test_the_findings_of_the_packs_for_hipaa_and_nist_are_the_accepted_ones(
    settings: Mapping[str, str], lists: tuple[str, ...], tmp_path: Path
) -> None:
    accepted = {
        (rule, path)
        for rule, entry in ACCEPTED.items()
        for name in lists
        for path in entry.get(name, ())
    }

    assert all(entry["reason"] for entry in ACCEPTED.values())
    assert pack_findings(new_nag_app(tmp_path, settings)) == accepted


def test_these_packs_report_a_broken_stack(tmp_path: Path) -> None:
    app = new_nag_app(tmp_path)
    before = pack_findings(app)
    s3.Bucket(the_stack(app), "Open")

    assert {rule for rule, _ in pack_findings(app) - before} >= {
        "S3BucketPublicReadProhibited",
        "S3BucketSSLRequestsOnly",
    }


def find(stack: cdk.Stack, path: str) -> IConstruct:
    """Find a construct by its path within a stack; the stack itself by an empty one."""
    found: IConstruct = stack
    for name in path.split("/") if path else ():
        found = found.node.find_child(name)
    return found


def test_cdk_nag_reports_a_broken_stack(tmp_path: Path) -> None:
    # Given a queue that takes anything, a role that may do anything, and more in our own role
    app = new_nag_app(tmp_path)
    stack = the_stack(app)
    sqs.Queue(stack, "Open")
    almighty = iam.Role(stack, "Almighty", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    almighty.add_to_policy(iam.PolicyStatement(actions=["sqs:*"], resources=["*"]))
    ours = find(stack, "PushSender/Sender/Role")
    assert isinstance(ours, iam.Role)
    ours.add_to_policy(iam.PolicyStatement(actions=["s3:Get*"], resources=["arn:aws:s3:::a/*"]))
    # When cdk-nag looks
    findings = nag_findings(app, tmp_path)
    # Then it reports all that, and our role's acknowledgements cover none of it
    assert findings == {
        ("AwsSolutions-SQS3", "push-sender/Open/Resource"),
        ("AwsSolutions-SQS4", "push-sender/Open/Resource"),
        ("AwsSolutions-IAM5[Action::sqs:*]", "push-sender/Almighty/DefaultPolicy/Resource"),
        ("AwsSolutions-IAM5[Resource::*]", "push-sender/Almighty/DefaultPolicy/Resource"),
        (
            "AwsSolutions-IAM5[Action::s3:Get*]",
            "push-sender/PushSender/Sender/Role/DefaultPolicy/Resource",
        ),
        (
            "AwsSolutions-IAM5[Resource::arn:aws:s3:::a/*]",
            "push-sender/PushSender/Sender/Role/DefaultPolicy/Resource",
        ),
    }


def test_a_too_wide_or_unneeded_acknowledgement_is_reported(tmp_path: Path) -> None:
    wide, stale = "is acknowledged for more than one resource", "is acknowledged and never found"
    expected = {
        "": ("AwsSolutions-L1", wide),
        "PushSender/Sender": ("AwsSolutions-L1", wide),
        "PushSender/Sender/Role": ("AwsSolutions-IAM5", stale),
        "PushSender/DeadLetters/Queue": ("AwsSolutions-SQS3", stale),
    }
    app = new_nag_app(tmp_path)
    for path, (id_, _) in expected.items():
        acknowledge(find(the_stack(app), path), "no good reason", id_)
    assert sorted(misplaced_or_stale(app)) == sorted(
        f"push-sender/{path}".rstrip("/") + f": {id_} {fault}"
        for path, (id_, fault) in expected.items()
    )


# ------------------------------------------------------------------ the snapshot

SNAPSHOT: Final = Path(__file__).with_name("snapshots") / "push-sender.yaml"
REGENERATE: Final = "make snapshot"
HEADER: Final = f"""\
# The template of the stack with every setting that makes a resource, for review.
# `{REGENERATE}` writes it. Hashes of the archive and of the version are masked, what
# CloudFormation joins is written as !Sub, and text that is JSON as what it holds.
"""

MASKED: Final = (
    (r"[0-9a-f]{64}(?=\.zip)", "<hash of the archive>"),
    (r"(?<=CurrentVersion)([0-9A-F]{8})[0-9a-f]{32}", r"\1<hash>"),
)


class Tagged(str):
    """A scalar with a YAML tag: an intrinsic function in its short form."""

    tag: str

    @classmethod
    def of(cls, tag: str, text: str) -> Tagged:
        made = cls(text)
        made.tag = tag
        return made


class Row(list[Any]):
    """A list that is written in one line."""


class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # a class without types, see the import
    """PyYAML's, which also knows tagged scalars and never writes a thing by reference."""

    def ignore_aliases(self, data: object) -> bool:
        return True


Dumper.add_representer(
    Tagged, lambda dumper, text: dumper.represent_scalar(f"!{text.tag}", str(text))
)
Dumper.add_representer(
    Row,
    lambda dumper, row: dumper.represent_sequence("tag:yaml.org,2002:seq", row, flow_style=True),
)


def simplified(value: Any) -> Any:
    """Write intrinsic functions in their short forms, and what JSON text holds."""
    match value:
        case {"Ref": str(name)}:
            return Tagged.of("Ref", name)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return Tagged.of("GetAtt", f"{name}.{attribute}")
        case {"Fn::Join": ["", list(parts)]}:
            texts = [part if isinstance(part, str) else simplified(part) for part in parts]
            if all(isinstance(text, str) for text in texts):
                joined = "".join(
                    f"${{{text}}}" if isinstance(text, Tagged) else text for text in texts
                )
                held = simplified(joined)
                return held if isinstance(held, dict) else Tagged.of("Sub", joined)
        case str() if value.startswith("{"):
            try:
                return {"JSON": in_rows(json.loads(value))}
            except ValueError:
                return value
        case list():
            return [simplified(item) for item in value]
    if isinstance(value, dict):
        return {key: simplified(item) for key, item in value.items()}
    return value


def in_rows(value: Any) -> Any:
    """Write each list that begins with a text in one line, such as a metric of a dashboard."""
    if isinstance(value, dict):
        return {key: in_rows(item) for key, item in value.items()}
    if isinstance(value, list):
        return Row(value) if value and isinstance(value[0], str) else [*map(in_rows, value)]
    return value


def readable(template: Mapping[str, Any]) -> str:
    """Write a template for a reviewer, with nothing in it that changes by itself."""
    text: str = yaml.dump(simplified(template), Dumper=Dumper, sort_keys=False, width=1_000)
    for pattern, mask in MASKED:
        text = re.sub(pattern, mask, text)
    return HEADER + text


def differences(template: Mapping[str, Any], snapshot: Path) -> str:
    """Compare a template with its snapshot: a diff and what to do about it, or nothing."""
    existing = snapshot.read_text() if snapshot.exists() else ""
    lines = difflib.unified_diff(
        existing.splitlines(), readable(template).splitlines(), "snapshot", "template", lineterm=""
    )
    diff = "\n".join(lines)
    return diff and f"{diff}\n\nIf that is meant: {REGENERATE}"


def test_the_template_equals_the_snapshot(full: Synthesis) -> None:
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(readable(full.template))
    result = differences(full.template, SNAPSHOT)
    if result:
        pytest.fail(result, pytrace=False)


def test_a_changed_template_fails_with_a_diff_and_the_command_for_the_snapshot(
    full: Synthesis, tmp_path: Path
) -> None:
    # Given a snapshot
    snapshot = tmp_path / "snapshot.yaml"
    snapshot.write_text(readable(full.template))
    assert differences(full.template, snapshot) == ""
    # When a property changes
    changed = copy.deepcopy(full.template)
    function = next(
        made for made in changed["Resources"].values() if made["Type"] == "AWS::Lambda::Function"
    )
    function["Properties"]["Timeout"] = 30
    # Then the message has that line and its cure
    result = differences(changed, snapshot)
    assert "-      Timeout: 29\n+      Timeout: 30\n" in result
    assert result.endswith(f"If that is meant: {REGENERATE}")
    # And so they are where there is no snapshot yet
    assert "+      Timeout: 29\n" in differences(full.template, tmp_path / "none.yaml")


def test_a_new_archive_does_not_change_the_snapshot(full: Synthesis, tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path)
    bundle.path.write_bytes(b"another archive")
    app = new_app(tmp_path)
    stack = add_stack(app, bundle, FULL)
    app.synth()
    other = read(tmp_path / "cdk.out", stack.stack_name)
    assert other.template != full.template
    assert readable(other.template) == readable(full.template)
