"""Route keys: the requests that a route takes, and the parameters in its path.

As in API Gateway, a route whose path is the request's own comes before one with parameters. Of
two routes with parameters the one that names the earlier segment comes first; API Gateway calls
that the best match. Paths are compared after they are decoded, so an encoded slash ends a segment:
a function behind a live HTTP API gets ``/capture/slash/value`` for ``/capture/slash%2Fvalue``
(captured in hotsock/voker, ``vokerhttp/testdata/ingress-paths.json``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

DEFAULT_ROUTE: Final = "$default"

_KEY: Final = re.compile(
    r"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) /([\w.~-]*|\{[\w.-]+\})(/([\w.~-]*|\{[\w.-]+\}))*",
    re.ASCII,
)
_PARAMETER: Final = re.compile(r"\{([\w.-]+)\}", re.ASCII)


class RouteMatch(NamedTuple):
    """The key of a request's route, and the values of the parameters in it."""

    key: str
    parameters: Mapping[str, str]


def problem_of(key: str) -> str | None:
    """Return why the sandbox cannot have a route with this key, or None if it can."""
    names = _PARAMETER.findall(key)
    if "+}" in key:
        return "has a greedy parameter, which the sandbox does not know"
    if len(set(names)) < len(names):
        return "has a parameter twice"
    if key != DEFAULT_ROUTE and not _KEY.fullmatch(key):
        return f"must be {DEFAULT_ROUTE}, or a method and a path; a parameter is a whole segment"
    return None


def same_requests(key: str, other: str) -> bool:
    """Return whether two keys differ at most in the names of their parameters."""
    return _PARAMETER.sub("{}", key) == _PARAMETER.sub("{}", other)


def best_match(keys: Iterable[str], method: str, path: str) -> RouteMatch | None:
    """Find the key for a request; the default route comes last.

    Parameters
    ----------
    keys
        The keys of an API.
    method
        The request's.
    path
        The path in the API, decoded.
    """
    keys = list(keys)
    found = [
        RouteMatch(key, parameters)
        for key in keys
        if (parameters := _parameters(key, method, path)) is not None
    ]
    if found:
        return min(found, key=_positions_of_parameters)
    return RouteMatch(DEFAULT_ROUTE, {}) if DEFAULT_ROUTE in keys else None


def _parameters(key: str, method: str, path: str) -> dict[str, str] | None:
    """Return the parameters of a request, or None if the route does not take it."""
    wanted_method, _, wanted_path = key.partition(" ")
    wanted, given = wanted_path.split("/"), path.split("/")
    if wanted_method != method or len(wanted) != len(given):
        return None
    parameters = {}
    for segment, value in zip(wanted, given, strict=True):
        if parameter := _PARAMETER.fullmatch(segment):
            if not value:
                return None
            parameters[parameter[1]] = value
        elif segment != value:
            return None
    return parameters


def _positions_of_parameters(match: RouteMatch) -> list[bool]:
    return [segment.startswith("{") for segment in match.key.split("/")]
