"""The HTTP door: asked signed, as its callers do, and once unsigned, which must lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from operations import contract
from operations.account import HttpAnswer, Refusal
from operations.check import DoorAnswer, Visit, summary, unasked
from operations.nonexistent_devices import request
from operations.raw_answers import RawAnswers, read_json
from operations.redaction import error_text, members, one_line

_ROUTE: Final = "POST /messages"
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_REFUSED: Final = "urn:push-sender:problem:refused"


def http(visit: Visit) -> DoorAnswer:
    """Post what the direct door gets, and look whether somebody unknown could have."""
    api_url = visit.stack.outputs.get("ApiUrl")
    if not api_url:
        said = "not there: the stack has no output ApiUrl, as when http_api is false"
        return DoorAnswer(said, is_there=False)
    url = f"{api_url}/messages"
    answer = visit.account.post(url, request(*visit.devices))
    if isinstance(answer, Refusal):
        return unasked(answer)
    # A dry run: to find a route open, nothing need be sent.
    unsigned = visit.account.post(url, request(visit.devices[0], dry_run=True), signed=False)
    body = read_json(answer.body)
    return DoorAnswer(
        f"{_said(answer, body, visit.raw)}; unsigned, {_status(unsigned)}",
        (*_faults(visit, answer, body), *_openness(unsigned)),
        {
            "status": answer.status,
            "content_type": answer.content_type,
            "body": body,
            "unsigned": _status(unsigned),
        },
    )


def _faults(visit: Visit, answer: HttpAnswer, body: object) -> Iterator[str]:
    if _is_refused_alike(answer, body, visit.raw):
        return
    if answer.status != 200:
        yield _failure(answer, body)
        return
    if _media_type(answer) != _JSON:
        yield f"its answer is {_shown_type(answer)} and not {_JSON}"
    if isinstance(body, str):
        yield f"it answered no report: {_words(body)}"
        return
    yield from contract.report_faults(body, visit.devices, visit.stack.application_id)
    yield from contract.differences(body, visit.raw)


def _is_refused_alike(answer: HttpAnswer, body: object, raw: RawAnswers) -> bool:
    """Tell whether there is no report because the service refuses everybody's calls."""
    if (answer.status, members(body).get("type")) != (502, _REFUSED):
        return False
    return _media_type(answer) == _PROBLEM and contract.is_refused_whole(raw)


def _failure(answer: HttpAnswer, body: object) -> str:
    """Say what a status other than 200 is about, by who has written the answer."""
    told = members(body)
    if _media_type(answer) == _PROBLEM and told:
        title, detail = (one_line(told.get(key), 200) for key in ("title", "detail"))
        return f"it answered {answer.status}: {title}: {detail}"
    if "message" not in told:
        return f"it answered {answer.status}, {_shown_type(answer)}: {_words(body)}"
    message = f"API Gateway answered {answer.status}: {one_line(told['message'], 200)}"
    if answer.status != 403:
        return message
    return f"{message}; these credentials lack execute-api:Invoke on {_ROUTE}"


def _openness(unsigned: HttpAnswer | Refusal) -> Iterator[str]:
    if isinstance(unsigned, Refusal):
        yield f"it cannot be asked unsigned: {unsigned}"
    elif unsigned.status != 403:
        yield f"an unsigned request is answered {unsigned.status}, not 403: no route may be open"


def _said(answer: HttpAnswer, body: object, raw: RawAnswers) -> str:
    if answer.status == 200:
        return f"a report: {summary(body)}"
    if _is_refused_alike(answer, body, raw):
        return f"{answer.status}: the service refuses every call, as the raw answers say, too"
    return f"{answer.status}, {_shown_type(answer)}"


def _status(answer: HttpAnswer | Refusal) -> int | str:
    return answer.code if isinstance(answer, Refusal) else answer.status


def _media_type(answer: HttpAnswer) -> str:
    return answer.content_type.partition(";")[0].strip().lower()


def _shown_type(answer: HttpAnswer) -> str:
    return one_line(_media_type(answer), 60) or "of no media type"


def _words(body: object) -> str:
    return error_text(body) if isinstance(body, str) and body else one_line(body, 200) or "nothing"
