"""``/sandbox/clock``: read and move the time by which items of tables expire and schedules fire."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.wrappers import Request, Response

from sandbox import clock

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATH: Final = "/sandbox/clock"

_TEN_YEARS: Final = 10 * 366 * 86_400


class _Move(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    ahead_seconds: int = Field(ge=0, le=_TEN_YEARS)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer ``GET`` and ``POST`` (WSGI)."""
    return _answer(Request(environ))(environ, start_response)


def _answer(request: Request) -> Response:
    if request.path != PATH or request.method not in ("GET", "POST"):
        return _json({"message": f"There are: GET {PATH}, POST {PATH}"}, HTTPStatus.NOT_FOUND)
    if request.method == "POST":
        # A form on a page of another site cannot send this content type.
        if request.mimetype != "application/json":
            message = f"POST {PATH} takes application/json"
            return _json({"message": message}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        try:
            clock.move(_Move.model_validate_json(request.get_data()).ahead_seconds)
        except ValidationError:
            message = f'POST {PATH} takes {{"ahead_seconds": N}}, N from 0 to {_TEN_YEARS}'
            return _json({"message": message}, HTTPStatus.BAD_REQUEST)
    time = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="seconds")
    return _json({"ahead_seconds": int(clock.ahead()), "time": time})


def _json(body: dict[str, object], status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(json.dumps(body), status, headers, content_type="application/json")
