"""The check of the customer's key: its state, and the statements that its policy needs."""

from __future__ import annotations

from collections.abc import Iterator

from operations.account import FailedCall, OperationsError, call
from operations.json_values import as_dict
from operations.key_policy.coverage import Judgement, Verdict, judge
from operations.key_policy.statements import Needed, Place, existing, needed
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
    all_ = needed(place)
    wanted = [each for each in all_ if not each.output or each.output in outputs]
    resources = existing(place, outputs)
    judgements = (
        []
        if isinstance(policy, FailedCall)
        else [(each, judge(each, str(policy.get("Policy")), key, resources)) for each in wanted]
    )
    command = f"make key-policy STACK={place.stack}"
    shown = {
        verdict: [_shown(*each, command) for each in judgements if each[1].verdict is verdict]
        for verdict in Verdict
    }
    warnings = shown[Verdict.UNCLEAR]
    counts = [f"{len(wanted)} statements needed", f"{len(shown[Verdict.ALLOWED])} found"]
    if warnings:
        counts.append(f"{len(warnings)} {Verdict.UNCLEAR.value}")
    not_needed = [
        f"; {each.sid} is not needed: there is no output {each.output}"
        for each in all_
        if each not in wanted
    ]
    for what, answer in {"state": described, "policy": policy}.items():
        if isinstance(answer, FailedCall):
            warnings.append(f"its {what} cannot be read: {answer}")
    return CheckResult(
        "".join([", ".join(counts), *not_needed]),
        (*_state(described), *shown[Verdict.MISSING]),
        {each.sid: judgement.verdict.value for each, judgement in judgements},
        warnings=tuple(warnings),
    )


def _shown(needed: Needed, judgement: Judgement, command: str) -> str:
    return (
        f"{needed.sid} {judgement.verdict.value} ({judgement.reason}): without it "
        f"{needed.without}; {command} prints it"
    )


def _state(described: object) -> Iterator[str]:
    """Say that the key cannot be used, if KMS describes it so."""
    state = as_dict(as_dict(described).get("KeyMetadata")).get("KeyState")
    if isinstance(state, str) and state != "Enabled":
        yield f"the key is {one_line(state, 40)}: nothing that it encrypts can be read or written"
