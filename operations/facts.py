"""What nobody is sure of about the service: what is assumed, how sure that was, who finds out.

No answer to one decides whether the smoke test passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from operations import lookup_facts, push_facts
from operations.evidence import Evidence, FactAnswer


class Fact(NamedTuple):
    """Something assumed.

    Attributes
    ----------
    name
        For bug reports.
    sure
        M: one source or an inference; L: unconfirmed.
    claim
        What is assumed.
    look
        Finds out.
    """

    name: str
    sure: Literal["M", "L"]
    claim: str
    look: Callable[[Evidence], FactAnswer]


FACTS: Final = (
    Fact(
        "missing-channel",
        "M",
        "A channel that is not set up answers HTTP 200 with PERMANENT_FAILURE on each address; "
        "some have seen the whole call refused.",
        push_facts.missing_channel,
    ),
    Fact(
        "providers-words",
        "M",
        "We know each provider's reason and words for a token that is none.",
        push_facts.providers_words,
    ),
    Fact("updated-token", "L", "FCM v1 never sends an UpdatedToken.", push_facts.updated_token),
    Fact(
        "live-activity",
        "L",
        "The API does not take the APNSPushType liveactivity.",
        push_facts.live_activity,
    ),
    Fact("metrics", "L", "The metrics in AWS/Pinpoint still flow.", lookup_facts.metrics),
    Fact("cloudtrail", "L", "CloudTrail does not record SendMessages.", lookup_facts.trail),
    Fact("templates", "M", "Message templates went with Amazon Pinpoint.", lookup_facts.templates),
    Fact(
        "event-streams", "M", "Event streams went with Amazon Pinpoint.", lookup_facts.event_stream
    ),
)
