"""The patches of moto's SNS."""

from __future__ import annotations

from typing import Final

from moto.sns.models import Subscription

from sandbox.patches import Patch, isolated

PATCHES: Final = (Patch(Subscription, "publish", isolated(Subscription.publish)),)
