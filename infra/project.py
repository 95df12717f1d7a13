"""The push project (a Pinpoint application) and its channels, or an existing project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_pinpoint as pinpoint
from constructs import Construct

from infra.acknowledgement import acknowledge, acknowledge_lint
from infra.removal import removal_policy
from infra.settings import Credential, CredentialKind, Secret, Service, Settings

_RESOURCES: Final[Mapping[Service, Callable[..., cdk.CfnResource]]] = {
    "GCM": pinpoint.CfnGCMChannel,
    "APNS": pinpoint.CfnAPNSChannel,
    "APNS_SANDBOX": pinpoint.CfnAPNSSandboxChannel,
    "APNS_VOIP": pinpoint.CfnAPNSVoipChannel,
    "APNS_VOIP_SANDBOX": pinpoint.CfnAPNSVoipSandboxChannel,
    "BAIDU": pinpoint.CfnBaiduChannel,
    "ADM": pinpoint.CfnADMChannel,
}

_KEYS: Final[Mapping[CredentialKind | Service, Mapping[str, str | None]]] = {
    "service account": {"service_json": None},
    "token key": {
        "token_key": "token_key",
        "token_key_id": "key_id",
        "team_id": "team_id",
        "bundle_id": "bundle_id",
    },
    "certificate": {"certificate": "certificate", "private_key": "private_key"},
    "BAIDU": {"api_key": "api_key", "secret_key": "secret_key"},
    "ADM": {"client_id": "client_id", "client_secret": "client_secret"},
}
"""For each property of a channel: the key in the secret's JSON; None means the whole secret."""

# FCM's default would be KEY, which Google has ended.
_METHODS: Final[Mapping[CredentialKind, str]] = {
    "service account": "TOKEN",
    "token key": "TOKEN",
    "certificate": "CERTIFICATE",
}

_NOT_SHUT_DOWN: Final = (
    "Amazon Pinpoint has reached its end of support, but its projects and push channels go on "
    "as AWS End User Messaging Push: "
    "https://docs.aws.amazon.com/pinpoint/latest/userguide/migrate.html"
)


class Project(Construct):
    """A project with the channels that are configured, or a reference to an existing one.

    Attributes
    ----------
    application_ids
        The projects that requests may use, the default first.
    services
        The push services with a channel; ``None`` for an existing project, whose channels are
        unknown here.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:  # noqa: A002  the CDK's name
        super().__init__(scope, id)
        self.services: tuple[Service, ...] | None = None
        application_id = settings.application_id
        if application_id is None:
            self._policy = removal_policy(settings)
            # A change of the name would replace the project by one with another id.
            app = pinpoint.CfnApp(self, "App", name=settings.name)
            self._keep(app)
            application_id = app.ref
            for credential in settings.credentials:
                self._keep(self._channel(application_id, credential))
            self.services = tuple(credential.service for credential in settings.credentials)
        extra = (other for other in settings.extra_application_ids if other != application_id)
        self.application_ids = (application_id, *dict.fromkeys(extra))

    def _channel(self, application_id: str, credential: Credential) -> cdk.CfnResource:
        keys = _KEYS[credential.service if credential.kind == "keys" else credential.kind]
        properties = {name: _reference(credential.secret, key) for name, key in keys.items()}
        if method := _METHODS.get(credential.kind):
            properties["default_authentication_method"] = method
        return _RESOURCES[credential.service](
            self,
            credential.service,
            application_id=application_id,
            enabled=True,
            **properties,
        )

    def _keep(self, resource: cdk.CfnResource) -> None:
        """Retain what leaves the stack, also in case CloudFormation drops these types.

        The stack can then use the same project with the setting ``application_id``.
        """
        resource.apply_removal_policy(self._policy)
        acknowledge(resource, _NOT_SHUT_DOWN, "CloudFormation-Validate::W3696")
        acknowledge_lint(resource, _NOT_SHUT_DOWN, "W3696")


def _reference(secret: Secret, key: str | None) -> str:
    """Refer to a secret, which only CloudFormation reads, at a deployment."""
    value = cdk.SecretValue.secrets_manager(secret.id, json_field=key, version_id=secret.version)
    return value.unsafe_unwrap()  # the reference, not the value
