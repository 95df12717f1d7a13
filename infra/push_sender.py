"""The push service as one construct, for our stack and for anybody's."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.alarms import Alarms
from infra.bundle import Bundle, build
from infra.dashboard import Dashboard
from infra.dead_letters import DeadLetters
from infra.function import SenderFunction
from infra.project import Project
from infra.settings import Settings
from infra.wheels import LAMBDA_ARM64, LAMBDA_X86_64


class PushSender(Construct):
    """Sends push notifications: a project with its channels, and the function in front of it.

    Parameters
    ----------
    scope, id
        As of every construct.
    settings
        What is deployed.
    bundle
        The function's archive; left out, it is built for ``settings.architecture``.

    Attributes
    ----------
    project, function, dead_letters, alarms, dashboard
        The parts.

    Raises
    ------
    BundleError
        If the archive cannot be built.

    Examples
    --------
    >>> sender = PushSender(self, "PushSender", settings=Settings(fcm_secret="my-app/fcm"))
    ... sender.grant_invoke(order_service)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        bundle: Bundle | None = None,
    ) -> None:
        super().__init__(scope, id)
        target = LAMBDA_ARM64 if settings.architecture == "arm64" else LAMBDA_X86_64
        self.project = Project(self, "Project", settings=settings)
        self.dead_letters = DeadLetters(self, "DeadLetters", settings=settings)
        self.function = SenderFunction(
            self,
            "Sender",
            settings=settings,
            bundle=bundle or build(target),
            application_ids=self.project.application_ids,
            dead_letters=self.dead_letters.queue,
        )
        self.alarms = Alarms(
            self,
            "Alarms",
            settings=settings,
            function=self.function.function,
            dead_letters=self.dead_letters.queue,
        )
        self.dashboard = Dashboard(
            self,
            "Dashboard",
            settings=settings,
            services=self.project.services,
            function=self.function.function,
            dead_letters=self.dead_letters.queue,
            alarms=self.alarms.alarms,
        )

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody send pushes, by the alias and nothing else."""
        return self.function.alias.grant_invoke(grantee)
