"""Check the permissions of roles in front of all services.

The check finds mistakes in policies and is no protection: a request without a signature, or with a
key of no role, counts as the administrator's, and so does a role that is allowed everything.
Policies of resources (a queue's, a bus's) are not read.
"""

from __future__ import annotations

import html
import json
import logging
import uuid
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from moto.sts.models import AssumedRole

from sandbox.iam.callers import Caller
from sandbox.iam.keys import key_uses
from sandbox.iam.policy import PASSED_TO, allow_everything, refusal_reason
from sandbox.iam.requests import (
    PASS_ROLE,
    Home,
    Wanted,
    credential_of,
    is_json,
    is_xml,
    wanted_by,
)
from sandbox.iam.sessions import Rights, rights_of, rights_of_role, session_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_NO_RESOURCE: Final = "*"
_MOST_CALLS: Final = 10_000

_logger = logging.getLogger(__name__)


class Call(NamedTuple):
    """A call of a role, and whether it is allowed."""

    role_arn: str
    action: str
    resource: str
    allowed: bool


class _Refusal(NamedTuple):
    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


class Permissions:
    """Allows a role what its policies allow, and records its calls.

    Examples
    --------
    >>> permissions = Permissions()
    >>> with Server(guard=permissions.guard) as server:
    ...     functions = LambdaService(runtime, server.url, credentials=role_credentials)
    ...     with running(functions):
    ...         ...
    ...     {call.action for call in permissions.calls()}
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: Counter[Call] = Counter()

    def calls(self) -> Counter[Call]:
        """Return the checked calls of roles, with their counts."""
        with self._lock:
            return self._calls.copy()

    def forget_calls(self) -> None:
        """Reset the counts."""
        with self._lock:
            self._calls.clear()

    def allow(self, role_arn: str, action: str, resource: str) -> bool:
        """Return whether a role is allowed what a service does for it, and count the call.

        Parameters
        ----------
        role_arn
            The role; one that does not exist is allowed nothing.
        action
            Such as ``sqs:ReceiveMessage``.
        resource
            The ARN.
        """
        return self._refusal_reason(rights_of_role(role_arn), role_arn, action, resource) is None

    def caller_refusal_reason(self, caller: Caller, action: str, resource: str) -> str | None:
        """Return why a verified caller is not allowed an action; count the calls of roles.

        Parameters
        ----------
        caller
            The verified caller.
        action
            Such as ``execute-api:Invoke``.
        resource
            The ARN.

        Returns
        -------
        str or None
            The reason in IAM's words; None if the caller is allowed.
        """
        return self._refusal_reason(caller.rights, caller.role_arn, action, resource)

    def guard(self, application: WSGIApplication) -> WSGIApplication:
        """Put the check in front of an application."""

        def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            credential = credential_of(environ)
            session = credential and session_of(credential.access_key_id)
            if not credential or not session:
                return application(environ, start_response)
            rights = rights_of(session)
            if _allow_everything(rights):
                return application(environ, start_response)
            home = Home(session.partition, credential.region, session.account_id)
            wanted = wanted_by(environ, credential.service, home)
            reason = self._check(session, rights, wanted)
            if reason is None:
                return application(environ, start_response)
            refusal = _refusal(environ, credential.service, reason)
            start_response(f"{refusal.status} {refusal.status.phrase}", refusal.headers)
            return [refusal.body]

        return guarded

    def _refusal_reason(
        self, rights: Rights, role_arn: str, action: str, resource: str
    ) -> str | None:
        if _allow_everything(rights):
            return None
        reason = _reason(
            rights, Wanted(action, ((action, resource),), known=True), action, resource
        )
        if role_arn:
            self._remember(Call(role_arn, action, resource, reason is None))
        return reason

    def _check(self, session: AssumedRole, rights: Rights, wanted: Wanted) -> str | None:
        """Return why a role is not allowed a request, or None if it is."""
        first = None
        for action, resource in wanted.needed or ((wanted.action, _NO_RESOURCE),):
            reason = _reason(rights, wanted, action, resource)
            self._remember(Call(session.role_arn, action, resource, reason is None))
            if reason is not None and first is None:
                first = (
                    f"User: {session.arn} is not authorized to perform: {action} "
                    f"on resource: {resource} {reason}"
                )
        return first

    def _remember(self, call: Call) -> None:
        with self._lock:
            kept = call in self._calls or len(self._calls) < _MOST_CALLS
            if kept:
                self._calls[call] += 1
        if not kept:
            _logger.warning("over %d different calls of roles: one was not counted", _MOST_CALLS)


def _allow_everything(rights: Rights) -> bool:
    return not rights.other_limit and allow_everything(rights.policies)


def _reason(rights: Rights, wanted: Wanted, action: str, resource: str) -> str | None:
    if not wanted.known:
        return "because the sandbox's check of permissions does not know this call"
    if not wanted.needed:
        return "because the sandbox's check cannot tell from the request which resource it is"
    if rights.other_limit:
        return f"because the sandbox's check does not understand {rights.other_limit}"
    # Only this action has the condition key.
    facts = {PASSED_TO: wanted.passed_to} if action == PASS_ROLE else {}
    reason = refusal_reason(rights.policies, action, resource, facts)
    for use in key_uses(action, resource) if reason is None else ():
        missing = refusal_reason(rights.policies, use.action, use.key_arn, use.facts)
        if missing is not None:
            return f"because {use.action} on its key {use.key_arn} is not allowed: {missing}"
    return reason


def _refusal(environ: WSGIEnvironment, service: str, message: str) -> _Refusal:
    """Make the refusal of a service, as public records of real responses show it.

    Code and status differ: SQS names the code of its older protocol in a header, and SNS has
    its own code.
    """
    request_id = str(uuid.uuid4())
    headers = [("x-amzn-requestid", request_id)]
    if is_json(environ):
        headers.append(("Content-Type", "application/x-amz-json-1.0"))
        status = HTTPStatus.BAD_REQUEST
        if service == "sqs":
            headers.append(("x-amzn-query-error", "AccessDenied;Sender"))
            status = HTTPStatus.FORBIDDEN
        answer = {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message}
        return _Refusal(status, headers, json.dumps(answer).encode())
    if is_xml(environ, service):
        headers.append(("Content-Type", "text/xml"))
        code = "AuthorizationError" if service == "sns" else "AccessDenied"
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
            f"<Message>{html.escape(message, quote=False)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return _Refusal(HTTPStatus.FORBIDDEN, headers, text.encode())
    headers.append(("Content-Type", "application/json"))
    headers.append(("x-amzn-ErrorType", "AccessDeniedException"))
    return _Refusal(HTTPStatus.FORBIDDEN, headers, json.dumps({"Message": message}).encode())
