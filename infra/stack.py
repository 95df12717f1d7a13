"""The stack: one ``PushSender`` with its outputs."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from infra.bundle import Bundle
from infra.push_sender import PushSender
from infra.settings import Settings


class PushSenderStack(cdk.Stack):
    """Deploys the push service of one stage.

    Parameters
    ----------
    scope, id
        As for every stack.
    settings
        The stack's settings.
    bundle
        The function's archive; by default it is built for ``settings.architecture``.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        bundle: Bundle | None = None,
    ) -> None:
        super().__init__(scope, id, description="Push Sender: transactional push notifications")
        sender = PushSender(self, "PushSender", settings=settings, bundle=bundle)
        sender.add_outputs(self)
