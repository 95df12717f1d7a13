"""The commands of the Makefile with the CDK's own command line, against the sandbox."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.bundle import build
from infra.bundle.wheels import LAMBDA_X86_64, this_machine
from infra.release.template import template_of
from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import REGION, client, committed_context
from tests.support.paths import REPOSITORY

STACK = "push-sender-commands"
ARCHITECTURE = "x86_64" if platform.machine().lower() in ("x86_64", "amd64") else "arm64"
SETTINGS = f"-c stage=commands -c architecture={ARCHITECTURE} -c fcm_secret=sandbox/fcm"

Run = Callable[..., subprocess.CompletedProcess[str]]
Make = Callable[..., subprocess.CompletedProcess[str]]
OF_LAMBDAS_PYTHON = pytest.mark.skipif(
    f"{sys.version_info[0]}.{sys.version_info[1]}" != LAMBDA_X86_64.python,
    reason=f"what is deployed needs Python {LAMBDA_X86_64.python}, as Lambda has it",
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def run(sandbox: Sandbox, node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Give a function that runs a command with the sandbox as AWS."""
    nowhere = str(tmp_path_factory.mktemp("home") / "none")
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {
        **others,
        "AWS_ENDPOINT_URL": sandbox.deployment.url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "CDK_VALIDATION": "false",  # 5 s a run; the checks of the template do it once
    }

    def run(*command: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def make(run: Run) -> Make:
    """Give a function that runs a make target with the sandbox as AWS."""
    return lambda target, *variables: run("make", "--no-print-directory", target, *variables)


@pytest.fixture(scope="module")
def deployed(make: Make) -> subprocess.CompletedProcess[str]:
    return make("deploy", f"ARGS={SETTINGS} --require-approval never")


def test_deploy_ends_with_the_next_steps(
    sandbox: Sandbox, deployed: subprocess.CompletedProcess[str]
) -> None:
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    (stack,) = client("cloudformation", sandbox.deployment.url).describe_stacks(StackName=STACK)[
        "Stacks"
    ]

    end = deployed.stdout.rpartition(f"{STACK} is deployed.")[2]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert all(output["OutputValue"] in end for output in stack["Outputs"])
    assert f"lambda invoke --region {REGION} --function-name {STACK}:live" in end


@pytest.mark.usefixtures("deployed")
def test_a_second_deployment_finds_nothing_to_change(make: Make) -> None:
    changes = make("diff", f"ARGS={SETTINGS}")

    assert changes.returncode == 0, changes.stderr
    output = changes.stdout + changes.stderr
    assert "Number of stacks with differences: 0" in output
    assert "Could not create a change set" not in output


@pytest.mark.usefixtures("deployed")
@OF_LAMBDAS_PYTHON
def test_the_smoke_test_passes_on_the_deployed_stack(make: Make) -> None:
    smoke = make("smoke", f"STACK={STACK}")

    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert "The stack answered as the contract says." in smoke.stdout


@pytest.mark.usefixtures("deployed")
def test_destroy_removes_the_stack_and_leaves_the_data(make: Make, sandbox: Sandbox) -> None:
    # The CDK synthesizes first; it is given what it just did.
    destroyed = make("destroy", f"ARGS={SETTINGS} --app cdk.out --force")

    assert destroyed.returncode == 0, destroyed.stderr
    url = sandbox.deployment.url
    stacks = client("cloudformation", url).describe_stacks()["Stacks"]
    projects = client("pinpoint", url).get_apps()["ApplicationsResponse"]["Item"]
    assert STACK not in [stack["StackName"] for stack in stacks]
    assert STACK in [project["Name"] for project in projects]


@OF_LAMBDAS_PYTHON
def test_a_release_is_deployed_with_plain_cloudformation(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    # Given the files of a release in a bucket, its archive for this machine
    stack, url = "push-sender-released", sandbox.deployment.url
    context = {**committed_context(), "stage": "released", "architecture": ARCHITECTURE}
    archive = build(this_machine())
    file = tmp_path / "push-sender.template.json"
    file.write_text(json.dumps(template_of(context, archive, "push-sender.zip")))
    client("s3", url).create_bucket(Bucket="releases")
    client("s3", url).upload_file(str(archive.path), "releases", "one/push-sender.zip")
    # When AWS's own client deploys it
    deployed = run(
        *(str(Path(sys.executable).with_name("aws")), "cloudformation", "deploy"),
        *("--region", REGION, "--stack-name", stack),
        *("--template-file", str(file), "--s3-bucket", "releases"),
        *("--capabilities", "CAPABILITY_NAMED_IAM", "--parameter-overrides"),
        *("CodeBucket=releases", "CodePrefix=one/"),
        *("FcmSecret=sandbox/fcm", "AlarmEmail=on-call@example.com"),
    )
    # Then it sends, through the one channel that has a secret
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    found = client("cloudformation", url).describe_stack_resources(StackName=stack)
    types = [each["ResourceType"] for each in found["StackResources"]]
    assert [name for name in types if name.endswith("Channel")] == ["AWS::Pinpoint::GCMChannel"]
    assert "AWS::SNS::Subscription" in types
    push = {"recipient": {"service": "GCM", "token": "t-1"}, "message": "m"}
    answer = client("lambda", url).invoke(FunctionName=f"{stack}:live", Payload=json.dumps(push))
    assert json.load(answer["Payload"])["summary"] == {"recipients": 1, "accepted": 1}


def test_a_bad_setting_stops_a_deployment_with_its_error_only(make: Make) -> None:
    refused = make("deploy", "ARGS=-c retain=false")

    assert refused.returncode != 0
    assert "retain: unknown; did you mean retain_data?" in refused.stderr
    assert "Traceback" not in refused.stderr


# --- A user's own stack, as in docs/deploy.md.


@pytest.fixture(scope="module")
def own_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the app's files, with this repository as its submodule."""
    folder = tmp_path_factory.mktemp("my-app")
    page = (REPOSITORY / "docs/deploy.md").read_text()
    section = page.partition("\n## In a stack of your own\n")[2].partition("\n## ")[0]
    files = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", section, re.M | re.S))
    assert files.keys() == {"app.py", "requirements.txt", "cdk.json"}
    # All as printed but the processor, which is this machine's.
    own = f'stage="my-app", architecture="{ARCHITECTURE}"'
    assert 'stage="my-app"' in files["app.py"]
    files["app.py"] = files["app.py"].replace('stage="my-app"', own)
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "push-sender").symlink_to(REPOSITORY)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def own_stack(run: Run, own_app: Path, sandbox: Sandbox) -> str:
    secrets = client("secretsmanager", sandbox.deployment.url)
    secrets.create_secret(Name="my-app/fcm", SecretString='{"private_key": "made up"}')

    cdk = "push-sender/node_modules/.bin/cdk"
    deployed = run(cdk, "deploy", "--require-approval", "never", folder=own_app)

    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    return "my-app"


def test_the_documented_app_needs_only_the_documented_packages(own_app: Path) -> None:
    locked = dict(
        re.findall(r"^([\w-]+)==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.M)
    )
    wanted = [Requirement(line) for line in (own_app / "requirements.txt").read_text().splitlines()]

    assert [each.name for each in wanted if locked[each.name] not in each.specifier] == []
    imported = {
        name.partition(".")[0]
        for path in (REPOSITORY / "infra").glob("*.py")
        for name in re.findall(
            r"^(?:from|import) ([\w.]+)(?: import| as|$)", path.read_text(), re.M
        )
    }
    others = imported - sys.stdlib_module_names - {"infra"}
    assert others == {"aws_cdk", "constructs", "pydantic"}


@OF_LAMBDAS_PYTHON
def test_smoke_and_redrive_work_for_a_push_sender_in_another_stack(
    make: Make, own_stack: str
) -> None:
    smoke = make("smoke", f"STACK={own_stack}")
    redrive = make("redrive", f"STACK={own_stack}")

    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert "The stack answered as the contract says." in smoke.stdout
    assert redrive.returncode == 0, redrive.stdout + redrive.stderr
