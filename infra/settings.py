"""The stack's settings, read from the CDK's context: ``cdk.json``, or ``-c key=value``.

This module checks the settings; the constructs use them. It does not import the CDK, so that
tests and tools can read settings without starting Node.js.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PRODUCT: Final = "push-sender"

_CDK_KEYS: Final = ("@aws-cdk/", "@aws-cdk-containers/", "aws:", "acknowledged-issue-numbers")
"""The start of the CDK's own keys: flags, and what `cdk acknowledge` writes."""

# The values that CloudWatch Logs allows: PutRetentionPolicy in its API reference.
_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)

Service = Literal["GCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "ADM"]
"""The name of a push service in the API."""

CredentialKind = Literal["service account", "token key", "certificate", "keys"]

_CHANNEL_SETTINGS: Final[Mapping[str, tuple[Service, CredentialKind]]] = {
    "fcm_secret": ("GCM", "service account"),
    "apns_secret": ("APNS", "token key"),
    "apns_certificate_secret": ("APNS", "certificate"),
    "apns_sandbox_secret": ("APNS_SANDBOX", "token key"),
    "apns_sandbox_certificate_secret": ("APNS_SANDBOX", "certificate"),
    "apns_voip_secret": ("APNS_VOIP", "token key"),
    "apns_voip_certificate_secret": ("APNS_VOIP", "certificate"),
    "apns_voip_sandbox_secret": ("APNS_VOIP_SANDBOX", "token key"),
    "apns_voip_sandbox_certificate_secret": ("APNS_VOIP_SANDBOX", "certificate"),
    "baidu_secret": ("BAIDU", "keys"),
    "adm_secret": ("ADM", "keys"),
}
"""For each setting that names a channel's secret: the service, and the kind of the secret."""

MOST_EXTRA_PROJECTS: Final = 74
"""With the default project 75. Their ids take 2,474 of the 4,096 bytes that Lambda allows for all
environment variables. The others, with the longest names that AWS allows, take under 1,600."""

MOST_AUDIENCES: Final = 50
"""API Gateway's quota for an authorizer, which cannot be raised."""

MOST_JOB_BUCKETS: Final = 20
"""Their ARNs stand in the policies of two roles, and a role's policies have 10,240 characters."""

MOST_CALLER_ACCOUNTS: Final = 20
"""Each adds a statement to the policy of the alias, and Lambda allows 20 KB for the policy of a
function: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_JWT_LIMITS: Final = ("jwt_requests_per_second", "jwt_burst")
_JWT: Final = ("jwt_issuer", "jwt_audience", *_JWT_LIMITS, "http_jwt")

_USELESS: Final = (
    (
        "http_api",
        ("http_requests_per_second", "http_burst"),
        "an HTTP API there is nothing to limit",
    ),
    ("http_api", _JWT, "an HTTP API no route takes a JWT"),
    ("devices", ("device_expiry_days",), "devices there is nothing that expires"),
    ("jobs", ("job_bucket_arns",), "jobs no bucket is read"),
    (
        "retain_data",
        ("deletion_protection",),
        "data that remains, protected tables only prevent the removal",
    ),
)
"""A switch, the settings that have no effect while it is off, and the reason."""


class SettingsError(ValueError):
    """The settings are invalid; the message has a line for each error."""


class Secret(NamedTuple):
    """The name of a secret in Secrets Manager, never its value.

    Attributes
    ----------
    id
        Its name or ARN.
    version
        Its version's id; ``None`` means the version that is current at a deployment.
    """

    id: str
    version: str | None


class Credential(NamedTuple):
    """Where a channel's credential is.

    Attributes
    ----------
    service
        The push service of the channel.
    kind
        Its kind.
    secret
        The secret that contains it.
    """

    service: Service
    kind: CredentialKind
    secret: Secret


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        value = value.id if value.version is None else f"{value.id}#{value.version}"
    id_, marker, version = (value if isinstance(value, str) else "").partition("#")
    # No character that could end the reference that CloudFormation resolves, or begin another.
    name = r"[A-Za-z0-9/_+=.@-]{1,512}"
    arn = rf"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{{12}}:secret:{name}"
    if not re.fullmatch(rf"{name}|{arn}", id_) or (
        marker and not re.fullmatch(r"[A-Za-z0-9-]{32,64}", version)
    ):
        raise ValueError(
            "must be the name or ARN of a secret in Secrets Manager, if need be followed by # "
            "and the id of a version; never the secret itself"
        )
    return Secret(id_, version or None)


def _items(value: object) -> object:
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else value


def _not_too_many_audiences(names: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(names) <= MOST_AUDIENCES:
        raise ValueError(f"must be 1 to {MOST_AUDIENCES} audiences, separated by commas")
    return names


def _not_too_many(ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(ids)) > MOST_EXTRA_PROJECTS:
        raise ValueError(
            f"must be at most {MOST_EXTRA_PROJECTS} projects, because all environment variables "
            "of the function together hold 4 KB; deploy a second stage for the others"
        )
    return ids


def _not_too_many_buckets(arns: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(arns)) > MOST_JOB_BUCKETS:
        raise ValueError(f"must be at most {MOST_JOB_BUCKETS} buckets")
    return tuple(dict.fromkeys(arns))


def _not_too_many_accounts(ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(ids) > MOST_CALLER_ACCOUNTS:
        raise ValueError(f"must be at most {MOST_CALLER_ACCOUNTS} accounts")
    if len(set(ids)) < len(ids):
        raise ValueError("must name each account once")
    return ids


def _one_of(*allowed: int) -> AfterValidator:
    def check(value: int) -> int:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(map(str, allowed))}")
        return value

    return AfterValidator(check)


def _no_bool(value: object) -> object:
    if isinstance(value, bool):  # bool is a subclass of int
        raise ValueError("must be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_no_bool)]
SecretName = Annotated[Secret, BeforeValidator(_secret)]
ApplicationId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
ApplicationIds = Annotated[
    tuple[ApplicationId, ...], BeforeValidator(_items), AfterValidator(_not_too_many)
]

BucketArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
BucketArns = Annotated[
    tuple[BucketArn, ...], BeforeValidator(_items), AfterValidator(_not_too_many_buckets)
]

KeyArn = Annotated[
    str, Field(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,128}$")
]

AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$")]
AccountIds = Annotated[
    tuple[AccountId, ...], BeforeValidator(_items), AfterValidator(_not_too_many_accounts)
]

Audience = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~:/@+=-]{1,256}$")]
Audiences = Annotated[
    tuple[Audience, ...], BeforeValidator(_items), AfterValidator(_not_too_many_audiences)
]


def _channel(what: str) -> Any:
    return Field(default=None, description=f"secret with {what}")


_TOKEN: Final = "`token_key`, `key_id`, `team_id`, `bundle_id`"  # noqa: S105  names of keys
_CERTIFICATE: Final = "`certificate`, `private_key`"


class Settings(BaseModel):
    """The settings. Every description is in the table of ``docs/settings.md``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    stage: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$")] | None = Field(
        default=None,
        description=(
            "part of every name (`push-sender-<stage>`), so that several stacks live in one account"
        ),
    )
    application_id: ApplicationId | None = Field(
        default=None, description="an existing project to send through, instead of a new one"
    )
    extra_application_ids: ApplicationIds = Field(
        default=(),
        description="further projects that requests may name, separated by commas, 74 at most",
    )
    fcm_secret: SecretName | None = _channel("FCM's service-account JSON, as Firebase gives it")
    apns_secret: SecretName | None = _channel(f"an APNs token key: {_TOKEN}")
    apns_certificate_secret: SecretName | None = _channel(
        f"an APNs certificate instead of the token key: {_CERTIFICATE}"
    )
    apns_sandbox_secret: SecretName | None = _channel(f"a token key for APNs' sandbox: {_TOKEN}")
    apns_sandbox_certificate_secret: SecretName | None = _channel(
        f"a certificate for APNs' sandbox: {_CERTIFICATE}"
    )
    apns_voip_secret: SecretName | None = _channel(f"a token key for VoIP: {_TOKEN}")
    apns_voip_certificate_secret: SecretName | None = _channel(
        f"a certificate for VoIP: {_CERTIFICATE}"
    )
    apns_voip_sandbox_secret: SecretName | None = _channel(
        f"a token key for VoIP's sandbox: {_TOKEN}"
    )
    apns_voip_sandbox_certificate_secret: SecretName | None = _channel(
        f"a certificate for VoIP's sandbox: {_CERTIFICATE}"
    )
    baidu_secret: SecretName | None = _channel("Baidu's keys: `api_key`, `secret_key`")
    adm_secret: SecretName | None = _channel("ADM's keys: `client_id`, `client_secret`")
    memory_mb: Annotated[WholeNumber, Field(ge=256, le=10_240)] = Field(
        default=512,
        description=(
            "the function's memory, which also sets its share of a CPU: 0.29 of one at 512, a "
            "whole one at 1,769; 5,000 recipients need less than 100"
        ),
    )
    architecture: Literal["arm64", "x86_64"] = Field(
        default="arm64", description="the function's processor: `arm64` or `x86_64`"
    )
    send_concurrency: Annotated[WholeNumber, Field(ge=1, le=256)] | None = Field(
        default=None,
        description=(
            "the maximum of SendMessages calls at once in one invocation; by default as many as "
            "the share of a CPU can use: 16 with 512 MB of memory, 55 with 1,769 or more"
        ),
    )
    worker_concurrency: Annotated[WholeNumber, Field(ge=2, le=1_000)] = Field(
        default=10,
        description="the maximum of invocations that process the queue at once",
    )
    # From 2, because the queue's share, worker_concurrency, begins there.
    reserved_concurrency: Annotated[WholeNumber, Field(ge=2)] | None = Field(
        default=None,
        description=(
            "the concurrency that Lambda keeps for the function that sends, and its maximum of "
            "invocations at once through all entry points; by default it shares the account's"
        ),
    )
    caller_account_ids: AccountIds = Field(
        default=(),
        description=(
            "other accounts that may invoke the function and let their own roles do it, 12 digits "
            f"each, separated by commas, {MOST_CALLER_ACCOUNTS} at most"
        ),
    )
    http_api: bool = Field(
        default=True, description="whether there is an HTTP API in front of the function"
    )
    http_requests_per_second: Annotated[WholeNumber, Field(ge=1, le=10_000)] = Field(
        default=100,
        description=(
            "requests a second that each route for signed requests accepts on average; it answers "
            "others 429"
        ),
    )
    http_burst: Annotated[WholeNumber, Field(ge=1, le=5_000)] = Field(
        default=200,
        description="requests that each of these routes accepts at once before that rate applies",
    )
    devices: bool = Field(
        default=True,
        description="whether there is a registry of devices and users: a table and a function",
    )
    device_expiry_days: Annotated[WholeNumber, Field(ge=1, le=3_650)] = Field(
        default=270, description="after how many days the registry forgets a device that is unseen"
    )
    jwt_issuer: (
        # An issuer of OpenID Connect: a URL without a user, a query and a fragment.
        Annotated[
            str,
            Field(
                pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~:@+=/-]*)?$",
                max_length=1_024,
            ),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "the `iss` of the JWTs with which apps register their own device, an https URL, "
            "letter for letter; needs `jwt_audience`"
        ),
    )
    jwt_audience: Audiences | None = Field(
        default=None,
        description=(
            "the values of `aud` or `client_id` that are accepted in these JWTs, separated by "
            "commas, 50 at most"
        ),
    )
    jwt_requests_per_second: Annotated[WholeNumber, Field(ge=1, le=10_000)] = Field(
        default=50,
        description="requests a second that each route with a JWT accepts on average",
    )
    jwt_burst: Annotated[WholeNumber, Field(ge=1, le=5_000)] = Field(
        default=100,
        description="requests that each route with a JWT accepts at once before that rate applies",
    )
    http_jwt: bool = Field(
        default=False,
        description=(
            "whether `POST /jwt/messages` accepts requests for pushes with a JWT that has the "
            "scope `push:send`; needs `jwt_issuer`"
        ),
    )
    jobs: bool = Field(
        default=True,
        description=(
            "whether there are jobs, which send to the rows of a file: a bucket and a state machine"
        ),
    )
    job_bucket_arns: BucketArns = Field(
        default=(),
        description=(
            "the ARNs of other buckets whose files jobs may read, separated by commas, "
            f"{MOST_JOB_BUCKETS} at most"
        ),
    )
    event_bus_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,256}$")] | None = Field(
        default=None,
        description=(
            "an existing event bus for requests and reports; by default the account's `default` "
            "bus, or with `stage` a new bus with the name of the stack, because two stacks on one "
            "bus would both send every push"
        ),
    )
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = Field(
        default="INFO", description="the function's log: `DEBUG`, `INFO`, `WARN` or `ERROR`"
    )
    log_retention_days: Annotated[WholeNumber, _one_of(*_RETENTION_DAYS)] = Field(
        default=30, description="how long the logs are kept"
    )
    alarm_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")] | None = Field(
        default=None,
        description="an e-mail address that gets the alarms; AWS first asks it for confirmation",
    )
    alarm_topic_arn: (
        Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$")]
        | None
    ) = Field(
        default=None, description="an existing SNS topic for alarms, instead of an e-mail address"
    )
    retain_data: bool = Field(
        default=True,
        description=(
            "whether project, channels, logs, queues of requests, the table of devices and the "
            "bucket of jobs remain when they leave the stack"
        ),
    )
    deletion_protection: bool = Field(
        default=False,
        description=(
            "whether DynamoDB refuses to delete the two tables, of devices and of idempotency "
            "keys; switch it off before you remove the stack"
        ),
    )
    kms_key_arn: KeyArn | None = Field(
        default=None,
        description=(
            "the ARN of your key in KMS, of this region, for the queues, tables, logs, the alarm "
            "topic and the bucket of jobs; its policy first needs the statements of "
            "`make key-policy`"
        ),
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        errors = list(_contradictions(given))
        if errors:
            raise ValueError("\n".join(errors))
        return self

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Settings:
        """Read the settings from the CDK's context.

        Parameters
        ----------
        context
            From ``node.get_all_context()``. Values from ``-c`` are text. The CDK's own keys
            are ignored; null means the default.

        Raises
        ------
        SettingsError
            With a line for each error, and without the values.
        """
        own = {
            key: value
            for key, value in context.items()
            if value is not None and not key.startswith(_CDK_KEYS)
        }
        try:
            return cls.model_validate(own)
        except ValidationError as error:
            lines = [line for detail in error.errors() for line in _explain(detail)]
            lines += _contradictions(own)  # pydantic checks them only if every value is valid
        raise SettingsError(
            "The settings (the context in cdk.json, or -c) cannot be used:\n"
            + "\n".join(f"  {line}" for line in dict.fromkeys(lines))
        )

    @property
    def name(self) -> str:
        """The name of the stack and its parts: ``push-sender``, or ``push-sender-<stage>``."""
        return f"{PRODUCT}-{self.stage}" if self.stage else PRODUCT

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """The credentials of the channels to set up."""
        return tuple(
            Credential(service, kind, secret)
            for name, (service, kind) in _CHANNEL_SETTINGS.items()
            if (secret := getattr(self, name)) is not None
        )


def _contradictions(given: Mapping[str, Any]) -> Iterator[str]:
    """Find settings that contradict each other; None means the default."""
    names = {name for name, value in given.items() if value is not None}
    secrets = [name for name in _CHANNEL_SETTINGS if name in names]
    if "application_id" in names and secrets:
        yield (
            f"{', '.join(secrets)}: cannot be set beside application_id; the channels of an "
            "existing project are set up where it is"
        )
    services = [_CHANNEL_SETTINGS[name][0] for name in secrets]
    for service in sorted({name for name in services if services.count(name) > 1}):
        both = [name for name in secrets if _CHANNEL_SETTINGS[name][0] == service]
        yield f"{' and '.join(both)}: choose one; a channel has one credential"
    if {"alarm_email", "alarm_topic_arn"} <= names:
        yield "alarm_email and alarm_topic_arn: choose one"
    reserved, workers = (
        int(text) if (text := str(value)).isdecimal() and len(text) < 10 else None
        for value in (
            given.get("reserved_concurrency"),
            given.get("worker_concurrency", Settings.model_fields["worker_concurrency"].default),
        )
    )
    if reserved is not None and workers is not None and workers > reserved:
        yield (
            "worker_concurrency: set it to reserved_concurrency at most (its default is 10); "
            "Lambda would take more messages than it may process, and they would end as dead "
            "letters"
        )
    off = {name for name, value in given.items() if str(value).lower() in _FALSE}
    effective = names - (off & {"http_jwt", "deletion_protection"})
    for switch, dependent, reason in _USELESS:
        useless = [name for name in dependent if name in effective]
        if useless and switch in off:
            yield (f"{', '.join(useless)}: cannot be set beside {switch} false; without {reason}")
    yield from _contradictions_of_jwts(effective, has_devices="devices" not in off)


def _contradictions_of_jwts(names: Set[str], *, has_devices: bool) -> Iterator[str]:
    missing = [name for name in ("jwt_issuer", "jwt_audience") if name not in names]
    useless = [name for name in _JWT if name in names]
    if useless and missing:
        yield f"{', '.join(useless)}: set {' and '.join(missing)}, too; a JWT is checked with both"
    elif useless and not has_devices and "http_jwt" not in names:
        yield (
            f"{', '.join(useless)}: no route would take a JWT; set devices or http_jwt to true, or "
            "remove these settings"
        )


_FALSE: Final = ("0", "f", "false", "n", "no", "off")  # what pydantic reads as false

_FORMS: Final = {
    "stage": "lower-case letters, digits and hyphens, a letter first, 20 at most",
    "application_id": "a project's id: 32 hex digits",
    "extra_application_ids": "projects' ids, each 32 hex digits, separated by commas",
    "caller_account_ids": "the ids of accounts, 12 digits each, as text, separated by commas",
    "jwt_issuer": "an https URL without a query, letter for letter the iss of the JWTs",
    "jwt_audience": "audiences without spaces, separated by commas",
    "job_bucket_arns": "ARNs of buckets (arn:aws:s3:::name), without a path, separated by commas",
    "event_bus_name": "the name of an event bus: letters, digits, dots, hyphens, underscores",
    "alarm_email": "an e-mail address",
    "alarm_topic_arn": "the ARN of an SNS topic",
    "kms_key_arn": "the ARN of a key in KMS (arn:aws:kms:region:account:key/id), not of an alias",
}
"""The form of a text, for error messages."""


def _explain(detail: ErrorDetails) -> list[str]:
    """Write what is wrong with a setting and the cure, without its value."""
    if not detail["loc"]:  # the combinations: each line names its settings
        return str(detail["ctx"]["error"]).splitlines()
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, n=1)
        cure = f"did you mean {close[0]}?" if close else "docs/settings.md lists them all"
        # A name of such length may be a value, or a secret.
        return [f"{name if len(name) <= 64 else 'a name that is too long'}: unknown; {cure}"]
    if detail["type"] == "value_error":
        return [f"{name}: {detail['ctx']['error']}"]
    if name in _FORMS:
        return [f"{name}: must be {_FORMS[name]}"]
    for kind, form in (("bool", "must be true or false"), ("int", "must be a whole number")):
        if detail["type"].startswith(f"{kind}_"):
            return [f"{name}: {form}"]
    # pydantic's other messages name what is allowed, never the value.
    return [f"{name}: {detail['msg'].replace('Input should', 'must')}"]


def table() -> str:
    """Write the table of ``docs/settings.md``. A test compares the two."""
    rows = ["| key | default | what it sets |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = (
            str(default).lower() if isinstance(default, bool) else str(default) if default else ""
        )
        rows.append(f"| `{name}` | {shown and f'`{shown}`'} | {field.description} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
