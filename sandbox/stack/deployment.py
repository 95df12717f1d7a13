"""Deploy a synthesized stack: its assets to S3, its template to CloudFormation.

It uses boto3 against the sandbox, as ``cdk deploy`` works in an account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from infra.bundle import Bundle
from sandbox.stack.account import ACCOUNT_ID, REGION, client, prepare
from sandbox.stack.synthesis import Assembly

_PSEUDO_PARAMETERS: Final = {
    "${AWS::AccountId}": ACCOUNT_ID,
    "${AWS::Region}": REGION,
    "${AWS::Partition}": "aws",
}


class DeploymentError(Exception):
    """CloudFormation refused the stack; the message has the reason."""


_FUNCTIONS: Final = frozenset({"FunctionName", "DevicesFunctionName"})
"""The outputs that name a function of the archive, with its alias."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed stack.

    Attributes
    ----------
    url
        The sandbox's: the endpoint of every service.
    stack_name
        The name of the stack.
    outputs
        Its outputs.
    """

    url: str
    stack_name: str
    outputs: Mapping[str, str]

    @property
    def function_name(self) -> str:
        """The function's name with its alias, to invoke."""
        return self.outputs["FunctionName"]

    @property
    def application_id(self) -> str:
        """The stack's push project."""
        return self.outputs["ApplicationId"]


def deploy(url: str, assembly: Assembly) -> Deployment:
    """Deploy a stack into a fresh account of the sandbox.

    Parameters
    ----------
    url
        A running sandbox's.
    assembly
        The stack, synthesized for this machine.

    Raises
    ------
    DeploymentError
        If CloudFormation refuses.
    """
    prepare(url, assembly.settings)
    location = publish(url, assembly)
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
    """Replace the archive of every function from the next invocation on.

    It calls Lambda directly, as ``cdk deploy --hotswap`` does, because a synthesis takes
    seconds. The template keeps the name of the first archive.
    """
    functions = client("lambda", deployment.url)
    for output in _FUNCTIONS & deployment.outputs.keys():
        name = deployment.outputs[output].partition(":")[0]
        functions.update_function_code(FunctionName=name, ZipFile=bundle.path.read_bytes())
        _publish_version(functions, name)


def set_variables(
    deployment: Deployment, variables: Mapping[str, str], *, output: str = "FunctionName"
) -> None:
    """Add variables to a function's environment from the next invocation on.

    Parameters
    ----------
    deployment
        The stack.
    variables
        The variables with their values.
    output
        The output that names the function.
    """
    functions = client("lambda", deployment.url)
    name = deployment.outputs[output].partition(":")[0]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**before, **variables}}
    )
    _publish_version(functions, name)


def _publish_version(functions: Any, name: str) -> None:
    """Publish a function as a version, and move its aliases to it."""
    version = functions.publish_version(FunctionName=name)["Version"]
    for alias in functions.list_aliases(FunctionName=name)["Aliases"]:
        functions.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)


def publish(url: str, assembly: Assembly) -> str:
    """Upload the assets to S3, and return the template's address."""
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
