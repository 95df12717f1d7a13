"""Check a token as API Gateway's JWT authorizer does.

The checks, and the two forms of the header, are those of
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html. What
that page leaves open is decided strictly here: ``Bearer`` is compared exactly, and a token without
``exp`` or ``kid`` is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from joserfc import errors, jwt
from joserfc.jwk import GuestProtocol, KeySet
from joserfc.jws import JWSRegistry

from sandbox.http_apis.deployed import JwtAuthorizer
from sandbox.http_apis.issuer_keys import IssuerError

# Only RSA, as in AWS. Providers add members to the header that joserfc does not know.
_SIGNATURES: Final = JWSRegistry(algorithms=["RS256", "RS384", "RS512"], strict_check_header=False)

_PROBLEMS: Final[Mapping[type[errors.JoseError], str]] = {
    errors.BadSignatureError: "the signature is wrong",
    errors.ExceededSizeError: "the token is too large",
    errors.InvalidKeyIdError: "the issuer has no key with the token's kid",
    errors.UnsupportedAlgorithmError: "the signing method is not RS256, RS384 or RS512",
}
_CLAIM_PROBLEMS: Final = {
    "aud": "the token does not have a valid audience",  # in AWS's own words
    "client_id": "the token does not have a valid audience",
    "exp": "the token has expired, or has no valid exp",
    "iat": "the token was issued in the future, or has no valid iat",
    "iss": "the token does not have the issuer of the authorizer",
    "nbf": "the token is not yet valid, or has no valid nbf",
    "jti": "the token does not have a valid jti",
    "sub": "the token does not have a valid sub",
}


class TokenError(Exception):
    """A token is missing or refused; the message names the failed check.

    It repeats nothing from the token.

    Attributes
    ----------
    status
        The response's.
    challenge
        The value of the header ``WWW-Authenticate``.
    """

    def __init__(self, status: HTTPStatus, problem: str, challenge: str) -> None:
        self.status = status
        self.challenge = challenge
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Token:
    """A valid token, as a function gets it.

    Attributes
    ----------
    claims
        Its claims as text.
    scopes
        Its scopes; None for a route without scopes.
    """

    claims: Mapping[str, str]
    scopes: list[str] | None


def check_token(
    header: str, authorizer: JwtAuthorizer, keys_of: Callable[[str], KeySet], now: float
) -> Token:
    """Check the token of a request.

    Parameters
    ----------
    header
        The header ``Authorization``: ``Bearer`` and the token, or only the token.
    authorizer
        What the route asks for.
    keys_of
        Fetches the keys of an issuer, or raises an ``IssuerError``.
    now
        In seconds since 1970.

    Raises
    ------
    TokenError
        If the token is missing or refused.
    """
    scheme, _, rest = header.partition(" ")
    text = (rest if scheme == "Bearer" else header).strip()
    if not text:
        raise TokenError(HTTPStatus.UNAUTHORIZED, "missing token", "Bearer")

    def keys(token: GuestProtocol) -> KeySet:
        # With a single key joserfc would do without.
        if "kid" not in token.headers():
            raise errors.InvalidKeyIdError
        return keys_of(authorizer.issuer)

    try:
        claims = jwt.decode(text, keys, registry=_SIGNATURES).claims
        _check_claims(claims, authorizer, now)
    # joserfc raises a TypeError for a header that is no object, or whose crit is no list.
    except (IssuerError, errors.JoseError, TypeError, ValueError) as error:
        raise _refusal(authorizer, _problem(error)) from None
    scopes = _scopes(claims)
    if authorizer.scopes and not set(authorizer.scopes) & set(scopes):
        raise _refusal(authorizer, "the token has none of the scopes of the route", missing=True)
    return Token(_as_text(claims), scopes if authorizer.scopes else None)


def _check_claims(claims: dict[str, Any], authorizer: JwtAuthorizer, now: float) -> None:
    audience = "client_id" if claims.get("aud") is None else "aud"
    wanted: dict[str, jwt.ClaimsOption] = {
        "iss": {"essential": True, "value": authorizer.issuer},
        "exp": {"essential": True},
        audience: {"essential": True, "values": list(authorizer.audiences)},
    }
    jwt.JWTClaimsRegistry(int(now), 0, **wanted).validate(claims)


def _problem(error: Exception) -> str:
    if isinstance(error, IssuerError):
        return f"the keys of the issuer cannot be fetched: {error}"
    if isinstance(error, errors.ClaimError):
        return _CLAIM_PROBLEMS[error.claim.partition(",")[0]]
    return next(
        (text for kind, text in _PROBLEMS.items() if isinstance(error, kind)),
        "the token is no valid JWT",
    )


def _refusal(authorizer: JwtAuthorizer, problem: str, *, missing: bool = False) -> TokenError:
    # The form of AWS for a wrong audience:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-jwt.html
    # For a missing scope it is assumed, from RFC 6750.
    status, code = (
        (HTTPStatus.FORBIDDEN, "insufficient_scope")
        if missing
        else (HTTPStatus.UNAUTHORIZED, "invalid_token")
    )
    challenge = (
        f'Bearer scope="{" ".join(authorizer.scopes)}" error="{code}" error_description="{problem}"'
    )
    return TokenError(status, problem, challenge)


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    scopes = claims.get("scope", claims.get("scp"))
    if isinstance(scopes, str):
        return scopes.split()
    return [each for each in scopes if isinstance(each, str)] if isinstance(scopes, list) else []


def _as_text(claims: Mapping[str, Any]) -> dict[str, str]:
    """Write claims as a function gets them, as measured in floci-io/floci#2011."""
    return {name: _text(value) for name, value in claims.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{' '.join(map(_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
