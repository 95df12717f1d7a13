"""The check of the customer's key: its state, and the statements that its policy needs."""

from __future__ import annotations

from collections.abc import Iterator

from operations.account import FailedCall, OperationsError, call
from operations.json_values import as_dict
from operations.key_policy.coverage import Judgement, Verdict, judge
from operations.key_policy.statements import Needed, Place, needed
from operations.redaction import one_line
from operations.smoke.context import CheckContext, CheckResult


def check_key(context: CheckContext) -> CheckResult:
    """Read the key's state and policy, and name each statement that is missing."""
    outputs = context.stack.outputs
    if not (key := outputs.get("KmsKeyArn")):
        message = "left out: there is no output KmsKeyArn, as without the setting kms_key_arn"
        return CheckResult(message, is_deployed=False)
    client = context.account.client("kms")
    described = call(client, "describe_key", KeyId=key)
    policy = call(client, "get_key_policy", KeyId=key, PolicyName="default")
    try:
        place = Place.of_outputs(context.stack.name, outputs)
    except OperationsError as error:
        return CheckResult("not as expected", (str(error),))
    wanted = [each for each in needed(place) if not each.output or each.output in outputs]
    judgements = (
        []
        if isinstance(policy, FailedCall)
        else [(each, judge(each, str(policy.get("Policy")), key)) for each in wanted]
    )
    missing = [_shown(*each) for each in judgements if each[1].verdict is Verdict.MISSING]
    warnings = [_shown(*each) for each in judgements if each[1].verdict is Verdict.UNCLEAR]
    for what, answer in {"state": described, "policy": policy}.items():
        if isinstance(answer, FailedCall):
            warnings.append(f"its {what} cannot be read: {answer}")
    found = sum(judgement.verdict is Verdict.ALLOWED for _, judgement in judgements)
    return CheckResult(
        f"{len(wanted)} statements needed, {found} found",
        (*_state(described), *missing),
        {each.sid: judgement.verdict.value for each, judgement in judgements},
        warnings=tuple(warnings),
    )


def _shown(needed: Needed, judgement: Judgement) -> str:
    return (
        f"{needed.sid} {judgement.verdict.value} ({judgement.reason}): without it "
        f"{needed.without}; make key-policy prints it"
    )


def _state(described: object) -> Iterator[str]:
    """Say that the key cannot be used, if KMS describes it so."""
    state = as_dict(as_dict(described).get("KeyMetadata")).get("KeyState")
    if isinstance(state, str) and state != "Enabled":
        yield f"the key is {one_line(state, 40)}: nothing that it encrypts can be read or written"
