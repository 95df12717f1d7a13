"""What a person sees of an answer of the HTTP API."""

from __future__ import annotations

from typing import Final

from operations.account import HttpResponse
from operations.json_values import as_dict
from operations.redaction import error_text, one_line

PROBLEM: Final = "application/problem+json"


def describe(answer: HttpResponse, body: object, route: str) -> str:
    """Describe an unexpected answer: a problem document, or API Gateway's own answer.

    Parameters
    ----------
    answer
        The answer.
    body
        Its body: JSON, or text if it is not JSON.
    route
        The route that was asked, as IAM's permission names it.
    """
    document = as_dict(body)
    if media_type(answer) == PROBLEM and document:
        title, detail = (one_line(document.get(key), 200) for key in ("title", "detail"))
        return f"it answered {answer.status}: {title}: {detail}"
    if "message" not in document:
        return f"it answered {answer.status}, {shown_type(answer)}: {text(body)}"
    message = f"API Gateway answered {answer.status}: {one_line(document['message'], 200)}"
    if answer.status != 403:
        return message
    return f"{message}; these credentials lack execute-api:Invoke on {route}"


def media_type(answer: HttpResponse) -> str:
    """Return the media type of an answer without its parameters; empty if it has none."""
    return answer.content_type.partition(";")[0].strip().lower()


def shown_type(answer: HttpResponse) -> str:
    """Write the media type of an answer."""
    return one_line(media_type(answer), 60) or "of no media type"


def text(body: object) -> str:
    """Write a body in one line; of a web page say only that it is one."""
    return error_text(body) if isinstance(body, str) and body else one_line(body, 200) or "nothing"
