"""Read and write objects of S3: the files of jobs, their indexes and their lists of rows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from push_sender.clients.calls import CallError
from push_sender.clients.queue_and_bus import call_with_retries
from push_sender.jobs.errors import JobStoreUnavailable, SourceChanged, SourceUnavailable
from push_sender.request.errors import Finding, InvalidRequest

READ_BYTES: Final = 3 * 1024 * 1024
"""How much of an object is read in one call, which is less than an answer may have."""

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")

_EMPTY: Final = "is empty"
_NOT_FOUND: Final = (
    "names no file that the function may read; upload it under uploads/ of the stack's bucket, or "
    "deploy with job_bucket_arns"
)

_Answer = TypeVar("_Answer")


class Objects:
    """Reads and writes objects.

    Parameters
    ----------
    client
        An S3 client that does not retry by itself.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(
        self, bucket: str, key: str, start: int, end: int, *, etag: str | None, last_start: float
    ) -> tuple[bytes, str, int]:
        """Read a part of an object.

        Parameters
        ----------
        bucket, key
            The object.
        start, end
            The first byte, and the one after the last; at most ``READ_BYTES``. The end may be
            beyond that of the object.
        etag
            The ETag that the object must still have; None for any.
        last_start
            On ``time.monotonic``: no call begins after that.

        Returns
        -------
        tuple
            The bytes, the ETag of the object, and its whole size.

        Raises
        ------
        InvalidRequest
            If the object does not exist, may not be read, or is empty.
        SourceChanged
            If the object has another ETag, or is gone.
        SourceUnavailable
            If S3 fails, does not answer in time, or answers something else.
        """
        call = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{end - 1}"}
        if etag is not None:
            call["IfMatch"] = etag
        try:
            answer = _call(lambda: self._get(call), last_start)
        except CallError as error:
            raise _read_error(error, start, has_etag=etag is not None) from None
        body, found, content_range = answer
        given = _CONTENT_RANGE.fullmatch(content_range)
        if given is None:
            raise SourceUnavailable("WrongRange")
        first, last, size = map(int, given.groups())
        if first != start or last != min(end, size) - 1 or len(body) != last + 1 - first:
            raise SourceUnavailable("WrongRange")
        if etag not in (None, found):
            raise SourceChanged
        return body, found, size

    def write(self, bucket: str, key: str, body: bytes, *, last_start: float) -> None:
        """Write an object, in place of one with the same key.

        Raises
        ------
        JobStoreUnavailable
            If S3 refuses or fails.
        """
        call = {"Bucket": bucket, "Key": key, "Body": body}
        try:
            _call(lambda: self._client.put_object(**call), last_start)
        except CallError as error:
            if not error.has_success_status:
                raise JobStoreUnavailable(error.code) from None
        except SourceUnavailable as error:
            raise JobStoreUnavailable(error.reason) from None

    def _get(self, call: dict[str, Any]) -> tuple[bytes, str, str]:
        answer = self._client.get_object(**call)
        return answer["Body"].read(), str(answer["ETag"]), str(answer.get("ContentRange"))


def _call(call: Callable[[], _Answer], last_start: float) -> _Answer:
    if time.monotonic() > last_start:
        raise SourceUnavailable("deadline")
    return call_with_retries(call, last_start=last_start)


def _read_error(error: CallError, start: int, *, has_etag: bool) -> Exception:
    """Tell what S3's refusal to read means ("Error responses" of its API Reference).

    For an object that does not exist it answers 403 if the caller may not list the bucket. The
    function may not, so a file that is deleted during a job gets 403.
    """
    is_refused = error.status in (403, 404) and error.code not in _OF_THE_CREDENTIALS
    if error.status == 412 or (is_refused and has_etag):
        return SourceChanged()
    if is_refused:
        return InvalidRequest([Finding("source", _NOT_FOUND)])
    if error.status == 416 and start == 0:
        return InvalidRequest([Finding("source", _EMPTY)])
    return SourceUnavailable(error.code)


_OF_THE_CREDENTIALS: Final = frozenset(
    {"InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)
"""Codes of a 403 that is not about the object."""
