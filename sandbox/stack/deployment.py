"""Deploying a synthesized stack: its assets to S3, its template to CloudFormation.

With stock clients against the sandbox, as ``cdk deploy`` does it in an account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import ClientError

from infra.bundle import Bundle
from sandbox.stack.account import ACCOUNT_ID, REGION, client, furnish
from sandbox.stack.synthesis import Assembly

_PSEUDO_PARAMETERS: Final = {
    "${AWS::AccountId}": ACCOUNT_ID,
    "${AWS::Region}": REGION,
    "${AWS::Partition}": "aws",
}


class DeploymentError(Exception):
    """CloudFormation refused the stack; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where to push to.

    Attributes
    ----------
    url
        Of the sandbox: the endpoint of every service.
    stack_name
        The stack.
    outputs
        Its outputs.
    """

    url: str
    stack_name: str
    outputs: Mapping[str, str]

    @property
    def function_name(self) -> str:
        """What to invoke: the function's name with its alias."""
        return self.outputs["FunctionName"]

    @property
    def application_id(self) -> str:
        """The project that it sends through."""
        return self.outputs["ApplicationId"]


def deploy(url: str, assembly: Assembly) -> Deployment:
    """Deploy a stack into a fresh account of the sandbox.

    Parameters
    ----------
    url
        Of a running sandbox.
    assembly
        The stack, synthesized for this machine.

    Raises
    ------
    DeploymentError
        If CloudFormation refuses.
    """
    furnish(url, assembly.settings)
    location = _publish(url, assembly)
    cloudformation = client("cloudformation", url)
    name = assembly.stack_name
    try:
        cloudformation.create_stack(
            StackName=name, TemplateURL=location, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
    except ClientError as error:
        raise DeploymentError(f"The stack cannot be deployed: {error}") from error
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        reason = stack.get("StackStatusReason", "it gave no reason")
        raise DeploymentError(f"The stack is {stack['StackStatus']}: {reason}")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return Deployment(url, name, outputs)


def replace_code(deployment: Deployment, bundle: Bundle) -> None:
    """Let the function run another archive from its next invocation on.

    By Lambda's own calls, as ``cdk deploy --hotswap`` does, because a synthesis takes
    seconds: the template keeps the name of the archive that it was made with.
    """
    name = deployment.function_name.partition(":")[0]
    client("lambda", deployment.url).update_function_code(
        FunctionName=name, ZipFile=bundle.path.read_bytes()
    )
    _put_to_use(deployment)


def set_variables(deployment: Deployment, variables: Mapping[str, str]) -> None:
    """Let the function run with more of an environment from its next invocation on."""
    functions = client("lambda", deployment.url)
    name = deployment.function_name.partition(":")[0]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**before, **variables}}
    )
    _put_to_use(deployment)


def _put_to_use(deployment: Deployment) -> None:
    """Make a version of the function as it now is, and have the alias name that."""
    functions = client("lambda", deployment.url)
    name, _, alias = deployment.function_name.partition(":")
    version = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name=alias, FunctionVersion=version)


def _publish(url: str, assembly: Assembly) -> str:
    """Put the assets into S3, and give the template's address there."""
    s3 = client("s3", url)
    location = ""
    for asset in assembly.assets():
        bucket = asset.bucket
        for parameter, value in _PSEUDO_PARAMETERS.items():
            bucket = bucket.replace(parameter, value)
        s3.put_object(Bucket=bucket, Key=asset.key, Body=asset.source.read_bytes())
        if asset.source.name == f"{assembly.stack_name}.template.json":
            location = f"{url}/{bucket}/{asset.key}"
    return location
