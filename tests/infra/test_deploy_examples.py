"""The policies of ``examples/deploy`` fit the stack: its roles and its services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY
from tests.support.synthesized_stack import (
    GUARDED,
    Synthesis,
    add_stack,
    new_app,
    read,
    stub_bundle,
)

EXAMPLES = REPOSITORY / "examples" / "deploy"
BOUNDARY = "push-sender-boundary"

# Where IAM's name of a service is not that of CloudFormation in lower case.
IAM_NAMES = {"apigatewayv2": "apigateway", "pinpoint": "mobiletargeting", "stepfunctions": "states"}


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Everything there is, with the boundary of docs/deploy.md."""
    folder = tmp_path_factory.mktemp("bounded")
    app = new_app(folder, **{"@aws-cdk/core:permissionsBoundary": {"name": BOUNDARY}})
    settings = {**GUARDED, "job_bucket_arns": "arn:aws:s3:::files", "stage": "prod"}
    stack = add_stack(app, stub_bundle(folder), settings)
    app.synth()
    return read(folder / "cdk.out", stack.stack_name)


def statements(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    # IAM's quota for a managed policy, which does not count white space.
    assert len("".join(text.split())) <= 6_144
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def actions(of: list[dict[str, Any]]) -> set[str]:
    lists = (each["Action"] for each in of)
    return {name for each in lists for name in ([each] if isinstance(each, str) else each)}


def test_every_role_of_the_stack_has_the_boundary(bounded: Synthesis) -> None:
    roles = bounded.of_type("AWS::IAM::Role").values()
    assert len(roles) == 5
    for role in roles:
        assert f":policy/{BOUNDARY}" in str(role["Properties"]["PermissionsBoundary"])


def test_the_boundary_allows_what_the_roles_need_and_no_more(bounded: Synthesis) -> None:
    policies = bounded.of_type("AWS::IAM::Policy").values()
    needed = [
        statement
        for policy in policies
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    assert actions(statements(EXAMPLES / "boundary.json")) == actions(needed)


def test_the_execution_policy_names_every_service_of_the_stack(bounded: Synthesis) -> None:
    resources = bounded.template["Resources"].values()
    used = {each["Type"].split("::")[1].lower() for each in resources if "::" in each["Type"]}
    services = {IAM_NAMES.get(name, name) for name in used} - {"cdk"}
    policy = statements(EXAMPLES / "execution-policy.json")

    assert services <= {action.split(":")[0] for action in actions(policy)}
    # A role can get a permission only under the boundary.
    (roles,) = (each for each in policy if "iam:PutRolePolicy" in each["Action"])
    assert BOUNDARY in roles["Condition"]["StringEquals"]["iam:PermissionsBoundary"]
    assert not any(each["Action"] == "*" or "iam:*" in each["Action"] for each in policy)
