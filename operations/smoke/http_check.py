"""The check of the HTTP API: one signed request, and one unsigned request that must be refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from operations.account import FailedCall, HttpResponse
from operations.json_values import as_dict, read_json
from operations.smoke import contract
from operations.smoke.context import CheckContext, CheckResult, outcome_counts, result_of
from operations.smoke.http_answers import PROBLEM, describe, media_type, shown_type, text
from operations.smoke.nonexistent_devices import request
from operations.smoke.raw_answers import RawAnswers

_ROUTE: Final = "POST /messages"
_JSON: Final = "application/json"
_REFUSED: Final = "urn:push-sender:problem:refused"


def check_http(context: CheckContext) -> CheckResult:
    """Post the request of the direct check, then an unsigned one."""
    api_url = context.stack.outputs.get("ApiUrl")
    if not api_url:
        message = "not deployed: there is no output ApiUrl, as with the setting http_api false"
        return CheckResult(message, is_deployed=False)
    url = f"{api_url}/messages"
    answer = context.account.ask("POST", url, request(*context.devices))
    if isinstance(answer, FailedCall):
        return result_of(answer)
    # A dry run: even if the route is open, nothing is sent.
    unsigned = context.account.ask(
        "POST", url, request(context.devices[0], dry_run=True), signed=False
    )
    body = read_json(answer.body)
    return CheckResult(
        f"{_message(answer, body, context.raw)}; unsigned, {_status(unsigned)}",
        (*_failures(context, answer, body), *_unsigned_failures(unsigned)),
        {
            "status": answer.status,
            "content_type": answer.content_type,
            "body": body,
            "unsigned": _status(unsigned),
        },
    )


def _failures(context: CheckContext, answer: HttpResponse, body: object) -> Iterator[str]:
    if _is_expected_refusal(answer, body, context.raw):
        return
    if answer.status != 200:
        yield describe(answer, body, _ROUTE)
        return
    if media_type(answer) != _JSON:
        yield f"its answer is {shown_type(answer)} and not {_JSON}"
    if isinstance(body, str):
        yield f"it returned no report: {text(body)}"
        return
    yield from contract.report_errors(body, context.devices, context.stack.application_id)
    yield from contract.differences(body, context.raw)


def _is_expected_refusal(answer: HttpResponse, body: object, raw: RawAnswers) -> bool:
    """Whether there is no report because the push service refuses every call."""
    if (answer.status, as_dict(body).get("type")) != (502, _REFUSED):
        return False
    return media_type(answer) == PROBLEM and contract.every_call_is_refused(raw)


def _unsigned_failures(unsigned: HttpResponse | FailedCall) -> Iterator[str]:
    if isinstance(unsigned, FailedCall):
        yield f"it cannot be called unsigned: {unsigned}"
    elif unsigned.status != 403:
        yield f"an unsigned request is answered {unsigned.status}, not 403: no route may be open"


def _message(answer: HttpResponse, body: object, raw: RawAnswers) -> str:
    if answer.status == 200:
        return f"a report: {outcome_counts(body)}"
    if _is_expected_refusal(answer, body, raw):
        return f"{answer.status}: the push service refuses every call, as in the raw answers"
    return f"{answer.status}, {shown_type(answer)}"


def _status(answer: HttpResponse | FailedCall) -> int | str:
    return answer.code if isinstance(answer, FailedCall) else answer.status
