"""Check whether a function's own policy allows a service, with its ``AWS::Lambda::Permission``s.

moto keeps all permissions of a function in one policy, also those of its aliases and versions, by
their ARNs. A permission for a function does not count for its alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import lambda_backends

from sandbox.iam.policy import arn_like

_ACTIONS: Final = ("lambda:InvokeFunction", "lambda:*", "*")


def allows_service(function_arn: str, service: str, source_arn: str) -> bool:
    """Return whether a service is allowed to invoke a function on behalf of a resource.

    Parameters
    ----------
    function_arn
        The function's ARN, with a qualifier if it is invoked by one.
    service
        Such as ``apigateway.amazonaws.com``.
    source_arn
        The resource.
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
            return False  # an unknown condition allows nothing
