"""The pages under ``/sandbox/``: the inbox, the registry's devices, schedules, and their JSON.

``application`` is a WSGI application without signatures. It is only for a server on loopback that
refuses pages of other sites. The pages treat the content of pushes and the ids and tags of devices
as hostile: their policy lets a browser run and load only the files beside this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from push_sender import __version__
from sandbox.inbox import registry, schedules
from sandbox.inbox.listing import BadQueryError, clearing, filters, listing
from sandbox.inbox.sending import send
from sandbox.loopback import ADDRESS
from sandbox.pinpoint import devices

PAGE: Final = "/sandbox/"
PAGE_FOLDER: Final = Path(__file__).parent / "page"
_FILES: Final = {
    PAGE: ("inbox.html", "text/html; charset=utf-8"),
    f"{PAGE}inbox.css": ("inbox.css", "text/css; charset=utf-8"),
    f"{PAGE}inbox.js": ("inbox.js", "text/javascript; charset=utf-8"),
    f"{PAGE}devices": ("devices.html", "text/html; charset=utf-8"),
    f"{PAGE}devices.js": ("devices.js", "text/javascript; charset=utf-8"),
    f"{PAGE}schedules": ("schedules.html", "text/html; charset=utf-8"),
    f"{PAGE}schedules.js": ("schedules.js", "text/javascript; charset=utf-8"),
    f"{PAGE}table.js": ("table.js", "text/javascript; charset=utf-8"),
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src data:",  # the empty icon, so that a browser requests none
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _tokens(request: Request) -> dict[str, Any]:
    if request.args:
        raise BadQueryError("takes no filter")
    return {"tokens": devices.table()}


def _filters(request: Request) -> dict[str, Any]:
    if request.args:
        raise BadQueryError("takes no filter")
    return filters()


def _registry(request: Request) -> dict[str, Any]:
    if request.args:
        raise BadQueryError("takes no filter")
    return registry.listing()


def _schedules(request: Request) -> dict[str, Any]:
    if request.args:
        raise BadQueryError("takes no filter")
    return schedules.listing()


def _send(request: Request) -> dict[str, Any]:
    # Not from the request, which can name any host.
    url = f"http://{ADDRESS}:{request.environ['SERVER_PORT']}"
    try:
        wanted = json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise BadQueryError("takes JSON") from None
    return send(url, wanted)


_JSON: Final[Mapping[str, Mapping[str, Callable[[Request], dict[str, Any]]]]] = {
    f"{PAGE}messages": {
        "GET": lambda request: listing(request.args),
        "DELETE": lambda request: clearing(request.args),
    },
    f"{PAGE}tokens": {"GET": _tokens},
    f"{PAGE}filters": {"GET": _filters},
    f"{PAGE}registry": {"GET": _registry},
    f"{PAGE}scheduled": {"GET": _schedules},
    f"{PAGE}send": {"POST": _send},
}


@Request.application
def application(request: Request) -> Response:
    """Answer a path under ``/sandbox/``."""
    # A server that mounts this under /sandbox puts that part into the root path.
    path = request.root_path + request.path
    if path == PAGE.rstrip("/"):
        return redirect(PAGE)
    if path in _FILES:
        return _file(request.method, *_FILES[path])
    methods = _JSON.get(path)
    if methods is None:
        return _json({"message": f"There are: {', '.join([*_FILES, *_JSON])}"}, 404)
    page = methods.get(request.method)
    if page is None:
        return _only(", ".join(methods))
    # A form on a page of another site cannot send this content type.
    if request.method == "POST" and request.mimetype != "application/json":
        return _json({"message": f"POST {path} takes application/json"}, 415)
    try:
        return _json(page(request), 200)
    except BadQueryError as error:
        return _json({"message": f"{request.method} {path} {error}"}, 400)


def _file(method: str, name: str, media_type: str) -> Response:
    if method not in ("GET", "HEAD"):
        return _only("GET, HEAD")
    content = (PAGE_FOLDER / name).read_text().replace("{{version}}", __version__)
    return Response(content, 200, _HEADERS, content_type=media_type)


def _only(allowed: str) -> Response:
    return _json({"message": f"Takes: {allowed}"}, 405, {"Allow": allowed})


def _json(body: object, status: int, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(body, indent=2) + "\n"
    return Response(text, status, {**_HEADERS, **(headers or {})}, content_type="application/json")
