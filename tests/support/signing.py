"""Requests over HTTP, signed with the credentials of the sandbox's administrator."""

from __future__ import annotations

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.stack.account import REGION

ADMINISTRATOR = Credentials("sandbox", "sandbox")


class SignedBySandbox(requests.auth.AuthBase):
    """Signs the requests of ``requests``."""

    def __init__(self, credentials: Credentials = ADMINISTRATOR) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the signature."""
        signed = AWSRequest(request.method, request.url, data=request.body or b"")
        SigV4Auth(self._credentials, "execute-api", REGION).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request
