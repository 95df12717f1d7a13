"""Whether a function's own policy lets a service in, as ``AWS::Lambda::Permission`` adds to it.

moto keeps all of a function's permissions in one policy, those of its aliases and versions by
the ARN that they are for. A permission for a function is none for its alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import lambda_backends

from sandbox.iam.policy import arn_like

_ACTIONS: Final = ("lambda:InvokeFunction", "lambda:*", "*")


def allows_service(function_arn: str, service: str, source_arn: str) -> bool:
    """Tell whether a service may invoke a function in the name of something.

    Parameters
    ----------
    function_arn
        With its qualifier, if it is invoked by one.
    service
        Such as ``apigateway.amazonaws.com``.
    source_arn
        For what the service would do it.
    """
    _, _, _, region, account_id, _, name, *_ = function_arn.split(":")
    try:
        function = lambda_backends[account_id][region].get_function(name)
    except UnknownFunctionException:
        return False
    statements = list(function.policy.statements)
    return any(_allows(each, function_arn, service, source_arn) for each in statements)


def _allows(statement: Mapping[str, Any], function_arn: str, service: str, source_arn: str) -> bool:
    conditions = [
        _holds(f"{operator} {key}".lower(), wanted, source_arn)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    ]
    return (
        statement["Effect"] == "Allow"
        and statement["Principal"] == {"Service": service}
        and statement["Action"] in _ACTIONS
        and statement["Resource"] == function_arn
        and all(conditions)
    )


def _holds(condition: str, wanted: str, source_arn: str) -> bool:
    match condition:
        case "arnlike aws:sourcearn":
            return arn_like(wanted, source_arn)
        case "stringequals aws:sourceaccount":
            return source_arn.split(":")[4] == wanted
        case _:
            return False  # what is not understood allows nothing
