"""The message attributes that steer delivery, and the proof that this function wrote them.

A producer may give its messages any attributes. Ours count only with a proof: an HMAC over them
and the message's body, with a key that producers do not have. A program that can read a message
can put a copy of it on the queue, which changes nothing. With another body, the same attributes
do not count.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

PREFIX: Final = "push_sender."
"""Prefix of the names, so that they differ from a producer's own attributes."""

_REQUEST_ID: Final = f"{PREFIX}request_id"
_ACCEPTED_AT: Final = f"{PREFIX}accepted_at"
_ATTEMPT: Final = f"{PREFIX}attempt"
_PROOF: Final = f"{PREFIX}proof"
_SENDER: Final = f"{PREFIX}sender"

_PROOF_DIGITS: Final = 32  # hexadecimal: 128 bits
_ID_CHARACTERS: Final = 200


class Steering(NamedTuple):
    """What a request's messages carry from one attempt to the next.

    Attributes
    ----------
    request_id
        The id that the caller knows the request by.
    accepted_at
        When it was first accepted, in milliseconds of the epoch.
    attempt
        How often it was requeued so far; 0 is not written.
    sent_by
        Who sent it, as the log names it; None, which is not written, if that is not known.
    """

    request_id: str
    accepted_at: int
    attempt: int = 0
    sent_by: str | None = None

    def attributes(self, body: str, key: bytes) -> dict[str, str | int]:
        """Write the attributes of a message. Their size depends neither on body nor on key.

        Parameters
        ----------
        body
            The message's body.
        key
            The function's key.
        """
        proof = self._proof(body, key)
        signed = {} if self.sent_by is None else {_SENDER: _signed_sender(self.sent_by, proof, key)}
        return {
            _REQUEST_ID: self.request_id,
            _ACCEPTED_AT: self.accepted_at,
            **({_ATTEMPT: self.attempt} if self.attempt else {}),
            **signed,
            _PROOF: proof,
        }

    def _proof(self, body: str, key: bytes) -> str:
        # An id has no space or line break, so two different messages never give the same text.
        return _digest(f"{self.attempt} {self.accepted_at} {self.request_id}\n{body}", key)


def proven(body: str, attributes: Mapping[str, Any], key: bytes) -> Steering | None:
    """Read the attributes that the function wrote; None if the proof is missing or wrong.

    Parameters
    ----------
    body, attributes
        The message's, as Lambda passes them (``messageAttributes``).
    key
        The function's key; if it is empty, no proof is accepted.
    """
    request_id = usable_id(_text(attributes, _REQUEST_ID))
    accepted_at = _whole_number(attributes, _ACCEPTED_AT)
    proof = _text(attributes, _PROOF)
    if not (key and request_id and accepted_at is not None and proof and proof.isascii()):
        return None
    steering = Steering(request_id, accepted_at, _whole_number(attributes, _ATTEMPT) or 0)
    if not hmac.compare_digest(proof, steering._proof(body, key)):
        return None
    signed = _text(attributes, _SENDER) or ""
    sent_by = usable_id(signed.partition(" ")[0])
    if sent_by and signed.isascii():
        is_proven = hmac.compare_digest(signed, _signed_sender(sent_by, proof, key))
        return steering._replace(sent_by=sent_by) if is_proven else steering
    return steering


def unproven(attributes: Mapping[str, Any], default: Steering) -> Steering:
    """Read the attributes of the previous version, which had no proof and other names.

    Only for a message that this function is known to have sent. Can be removed one release after
    the first with proofs, when the last such message is older than 14 days, the longest time
    that SQS keeps a message.
    """
    return Steering(
        usable_id(_text(attributes, "request_id")) or default.request_id,
        _whole_number(attributes, "accepted_at") or default.accepted_at,
        _whole_number(attributes, "attempt") or default.attempt,
    )


def _signed_sender(sent_by: str, proof: str, key: bytes) -> str:
    """Write the sender with a proof of its own, which holds only beside the message's proof.

    A version without it reads the other attributes as before.
    """
    return f"{sent_by} {_digest(f'sender {sent_by} {proof}', key)}"


def _digest(text: str, key: bytes) -> str:
    return hmac.digest(key, text.encode(errors="surrogatepass"), "sha256").hex()[:_PROOF_DIGITS]


def usable_id(value: object) -> str | None:
    """Return an id if it can be used as a key and in a log, else None."""
    if isinstance(value, str) and 0 < len(value) <= _ID_CHARACTERS:
        return value if value.isascii() and value.isprintable() and " " not in value else None
    return None


def _whole_number(attributes: Mapping[str, Any], name: str) -> int | None:
    """Read an attribute that is a whole number from 0 up, else None."""
    text = _text(attributes, name) or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    text = (attributes.get(name) or {}).get("stringValue")
    return text if isinstance(text, str) else None
