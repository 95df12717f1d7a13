"""The settings: what may be set, what is refused, and that no value is ever repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.settings import (
    MOST_AUDIENCES,
    MOST_CALLER_ACCOUNTS,
    MOST_EXTRA_PROJECTS,
    MOST_JOB_BUCKETS,
    Credential,
    Secret,
    Settings,
    SettingsError,
    table,
)
from tests.support.paths import REPOSITORY

PROJECT = "0123456789abcdef0123456789abcdef"
OTHER_PROJECT = "f" * 32
KEY = "arn:aws:kms:eu-west-1:123456789012:key/12345678-90ab-cdef-1234-567890abcdef"
CHINESE_KEY = "arn:aws-cn:kms:cn-north-1:123456789012:key"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:my-app/fcm-AbCdEf"
JWTS = {"jwt_issuer": "https://id.example.com", "jwt_audience": "app"}
VERSION = "12345678-90ab-cdef-1234-567890abcdef"
CANARY = "canary-b7f1"

SECRETS = [name for name in Settings.model_fields if name.endswith("_secret")]

# Values that a user may paste in place of a secret's name.
PASTED = {
    "fcm_secret": json.dumps({"type": "service_account", "private_key": CANARY}),
    "apns_secret": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
    "apns_certificate_secret": f"-----BEGIN CERTIFICATE-----\\n{CANARY}",
    "baidu_secret": {"api_key": CANARY, "secret_key": CANARY},
    "adm_secret": [CANARY, None],
}

# A bad value for every setting, each with the canary in it where a text fits.
BAD: dict[str, Any] = {
    "stage": f"UPPER{CANARY}",
    "application_id": CANARY,
    "extra_application_ids": f"{PROJECT},{CANARY}",
    **dict.fromkeys(SECRETS, f"{CANARY}}}}}"),
    **PASTED,
    "memory_mb": CANARY,
    "architecture": CANARY,
    "send_concurrency": f"{CANARY}1",
    "worker_concurrency": CANARY,
    "reserved_concurrency": f"{CANARY}2",
    "caller_account_ids": f"123456789012,{CANARY}",
    "http_api": CANARY,
    "http_requests_per_second": CANARY,
    "http_burst": f"{CANARY}1",
    "devices": CANARY,
    "device_expiry_days": CANARY,
    "jwt_issuer": f"https://{CANARY}@id.example.com?{CANARY}",
    "jwt_audience": f"app,{CANARY} {CANARY}",
    "jwt_requests_per_second": CANARY,
    "jwt_burst": f"{CANARY}1",
    "http_jwt": CANARY,
    "jobs": CANARY,
    "job_bucket_arns": f"arn:aws:s3:::files,arn:aws:s3:::{CANARY}/uploads",
    "event_bus_name": f"arn:{CANARY}",
    "log_level": CANARY,
    "log_retention_days": CANARY,
    "alarm_email": CANARY,
    "alarm_topic_arn": CANARY,
    "retain_data": CANARY,
    "deletion_protection": CANARY,
    "kms_key_arn": f"arn:aws:kms:eu-west-1:123456789012:alias/{CANARY}",
    "unheard_of": CANARY,
}


def faults(**context: Any) -> list[str]:
    """Have settings refused, and give the lines of the error message."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_context(context)
    first, *lines = str(caught.value).splitlines()
    assert first == "The settings (the context in cdk.json, or -c) cannot be used:"
    assert all(line.startswith("  ") for line in lines)
    return [line.strip() for line in lines]


# ------------------------------------------------------------------ what is taken


def test_no_setting_is_needed_and_data_is_kept_by_default() -> None:
    settings = Settings.from_context({})
    assert settings == Settings()
    assert settings.name == "push-sender"
    assert settings.retain_data is True
    assert settings.credentials == ()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retain_data", "false", False),
        ("retain_data", "False", False),
        ("retain_data", "true", True),
        ("deletion_protection", "true", True),
        ("memory_mb", "1024", 1024),
        ("send_concurrency", "1", 1),
        ("worker_concurrency", "1000", 1000),
        ("reserved_concurrency", "10", 10),
        ("caller_account_ids", "000000000012", ("000000000012",)),
        ("caller_account_ids", "123456789012, 210987654321", ("123456789012", "210987654321")),
        ("http_api", "false", False),
        ("http_requests_per_second", "10000", 10_000),
        ("http_burst", "5000", 5_000),
        ("devices", "false", False),
        ("device_expiry_days", "3650", 3_650),
        ("jobs", "false", False),
        ("job_bucket_arns", "arn:aws:s3:::one", ("arn:aws:s3:::one",)),
        (
            "job_bucket_arns",
            "arn:aws-cn:s3:::a.b, arn:aws:s3:::c-1,arn:aws-cn:s3:::a.b",
            ("arn:aws-cn:s3:::a.b", "arn:aws:s3:::c-1"),
        ),
        ("log_retention_days", "3653", 3653),
        ("log_level", "WARN", "WARN"),
        ("architecture", "x86_64", "x86_64"),
        ("stage", "dev-2", "dev-2"),
        ("application_id", PROJECT, PROJECT),
        ("extra_application_ids", PROJECT, (PROJECT,)),
        ("extra_application_ids", f"{PROJECT}, {OTHER_PROJECT}", (PROJECT, OTHER_PROJECT)),
        ("alarm_email", "on-call@example.com", "on-call@example.com"),
        ("alarm_topic_arn", TOPIC, TOPIC),
        ("kms_key_arn", KEY, KEY),
        ("kms_key_arn", f"{CHINESE_KEY}/mrk-1234abcd", f"{CHINESE_KEY}/mrk-1234abcd"),
    ],
)
def test_text_values_from_the_command_line_are_read(name: str, text: str, value: object) -> None:
    assert getattr(Settings.from_context({name: text}), name) == value


@pytest.mark.parametrize(
    "issuer",
    [
        "https://id.example.com",
        "https://example.eu.auth0.com/",
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123",
        "https://securetoken.google.com/my-project",
        "https://login.microsoftonline.com/0123-4567/v2.0",
        "https://id.example.com:8443/realms/apps",
    ],
)
def test_an_issuer_is_read_letter_for_letter(issuer: str) -> None:
    assert Settings.from_context({**JWTS, "jwt_issuer": issuer}).jwt_issuer == issuer


MANY = tuple(f"a{number}" for number in range(MOST_AUDIENCES))


@pytest.mark.parametrize(
    ("given", "audience"),
    [
        ("app", ("app",)),
        ("app, https://api.example.com/push", ("app", "https://api.example.com/push")),
        (["app", "web"], ("app", "web")),
        (",".join(MANY), MANY),
    ],
)
def test_an_audience_is_one_text_or_several(given: object, audience: tuple[str, ...]) -> None:
    assert Settings.from_context({**JWTS, "jwt_audience": given}).jwt_audience == audience


def test_the_settings_of_jwts_are_read_from_text() -> None:
    texts = {"jwt_requests_per_second": "7", "jwt_burst": "11", "http_jwt": "true"}
    settings = Settings.from_context({**JWTS, **texts})
    assert (settings.jwt_requests_per_second, settings.jwt_burst) == (7, 11)
    assert settings.http_jwt is True


def test_cdk_json_may_hold_numbers_lists_and_nulls() -> None:
    context = {
        "memory_mb": 1024,
        "retain_data": False,
        "extra_application_ids": [PROJECT],
        "stage": None,
        "log_level": None,
    }
    settings = Settings.from_context(context)
    assert settings == Settings(memory_mb=1024, retain_data=False, extra_application_ids=(PROJECT,))


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("fcm", Secret("fcm", None)),
        ("my-app/prod/fcm_1+2=3.4@5", Secret("my-app/prod/fcm_1+2=3.4@5", None)),
        (ARN, Secret(ARN, None)),
        (
            ARN.replace("arn:aws:", "arn:aws-us-gov:"),
            Secret(ARN.replace("aws:", "aws-us-gov:", 1), None),
        ),
        (f"fcm#{VERSION}", Secret("fcm", VERSION)),
        (f"{ARN}#{VERSION}", Secret(ARN, VERSION)),
    ],
)
def test_a_secret_is_given_by_name_or_arn_and_optional_version(text: str, secret: Secret) -> None:
    settings = Settings.from_context({"fcm_secret": text})
    assert settings.credentials == (Credential("GCM", "service account", secret),)
    assert Settings(fcm_secret=secret) == settings


def test_every_secret_setting_has_one_service_and_kind() -> None:
    found = [Settings.from_context({name: "x"}).credentials for name in SECRETS]
    assert len(SECRETS) == 11
    assert all(len(credentials) == 1 for credentials in found)
    assert len({(only.service, only.kind) for (only,) in found}) == 11


def test_the_cdks_own_keys_are_accepted() -> None:
    context = {
        "@aws-cdk/aws-iam:minimizePolicies": True,
        # `cdk flags --set --recommended` writes one that is not like the others.
        "@aws-cdk-containers/ecs-service-extensions:enableDefaultLogDriver": True,
        "aws:cdk:enable-path-metadata": True,
        "aws:cdk:bundling-stacks": ["**"],
        # `cdk acknowledge` leaves it in cdk.context.json.
        "acknowledged-issue-numbers": [19836],
    }
    assert Settings.from_context(context) == Settings()


# ------------------------------------------------------------------ what is refused


def test_more_projects_than_the_functions_environment_holds_are_refused() -> None:
    ids = [f"{number:032x}" for number in range(MOST_EXTRA_PROJECTS + 1)]

    result = faults(extra_application_ids=",".join(ids), memory_mb="little")

    assert result == [
        "extra_application_ids: must be at most 74 projects, because all environment variables of "
        "the function together hold 4 KB; deploy a second stage for the others",
        "memory_mb: must be a whole number",
    ]
    twice = Settings.from_context({"extra_application_ids": [*ids[1:], ids[1]]})
    assert set(twice.extra_application_ids) == set(ids[1:])


def impossible_in(context: dict[str, Any]) -> list[str]:
    """List the impossible combinations of a context, with valid values in place of its own."""
    sound = {"application_id": "0" * 32, "alarm_email": "a@example.com"}
    sound |= {"alarm_topic_arn": "arn:aws:sns:eu-west-1:123456789012:alarms"}
    sound |= {name: "a" for name in context if name.endswith("_secret")}
    combined = {name: value for name, value in sound.items() if name in context}
    return [line.split(":")[0] for line in faults(**combined)]


def test_an_invalid_project_does_not_hide_that_it_excludes_secrets() -> None:
    lines = faults(application_id="mine", fcm_secret="my/fcm", http_api="false", http_burst="200")
    assert [line.split(":")[0] for line in lines] == ["application_id", "fcm_secret", "http_burst"]


def test_all_errors_are_reported_at_once_without_values() -> None:
    lines = faults(**BAD)
    combined = [*impossible_in(BAD), *BAD]
    assert sorted(line.split(":")[0] for line in lines) == sorted(combined)
    assert len(combined) > len(BAD)
    assert set(Settings.model_fields) <= set(BAD)
    assert CANARY not in "\n".join(lines)


@pytest.mark.parametrize("name", sorted(BAD))
def test_errors_in_a_program_repeat_no_value(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**{name: BAD[name]})
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value)


@pytest.mark.parametrize(
    "hostile",
    [
        "a:SecretString:b}}",
        "a}}{{resolve:ssm:/other",
        "a:SecretString:key::",
        "{{resolve:secretsmanager:a}}",
        f"{ARN}:SecretString:key",
        "arn:aws:s3:::bucket",
        "arn:aws:secretsmanager:eu-west-1:١٢٣٤٥٦٧٨٩٠١٢:secret:a",
        "${AWS::AccountId}",
        "name with spaces",
        "name\n",
        "",
        "#" + VERSION,
        "fcm#",
        "fcm#AWSCURRENT",
        f"fcm#{VERSION}}}}}",
        f"fcm#{VERSION}#{VERSION}",
        "x" * 513,
        5,
        True,
        ["a:SecretString:b}}", None],
        {"id": "a:SecretString:b}}", "version": None},
        Secret("a:SecretString:b}}", None),
        Secret("a", "1"),
    ],
)
def test_a_secret_name_cannot_break_out_of_a_reference(hostile: object) -> None:
    (line,) = faults(fcm_secret=hostile)
    assert line == (
        "fcm_secret: must be the name or ARN of a secret in Secrets Manager, if need be followed "
        "by # and the id of a version; never the secret itself"
    )


@pytest.mark.parametrize(
    ("context", "line"),
    [
        ({"fmc_secret": "x"}, "fmc_secret: unknown; did you mean fcm_secret?"),
        ({"retain-data": "false"}, "retain-data: unknown; did you mean retain_data?"),
        ({"Stage": "dev"}, "Stage: unknown; did you mean stage?"),
        ({"zzz": "x"}, "zzz: unknown; docs/settings.md lists them all"),
        ({"@aws-cdkk/x": "x"}, "@aws-cdkk/x: unknown; docs/settings.md lists them all"),
        (
            {"x" * 65: "x"},
            "a name that is too long: unknown; docs/settings.md lists them all",
        ),
    ],
)
def test_an_unknown_key_is_reported_with_a_suggestion(context: dict[str, str], line: str) -> None:
    assert faults(**context) == [line]


@pytest.mark.parametrize(
    ("context", "line"),
    [
        ({"retain_data": "maybe"}, "retain_data: must be true or false"),
        ({"retain_data": ""}, "retain_data: must be true or false"),
        ({"retain_data": 2}, "retain_data: must be true or false"),
        ({"deletion_protection": "on-ish"}, "deletion_protection: must be true or false"),
        ({"memory_mb": "128"}, "memory_mb: must be greater than or equal to 256"),
        ({"memory_mb": "10241"}, "memory_mb: must be less than or equal to 10240"),
        ({"memory_mb": "1 GB"}, "memory_mb: must be a whole number"),
        ({"memory_mb": 512.5}, "memory_mb: must be a whole number"),
        ({"send_concurrency": True}, "send_concurrency: must be a whole number"),
        ({"log_retention_days": True}, "log_retention_days: must be a whole number"),
        ({"worker_concurrency": "1"}, "worker_concurrency: must be greater than or equal to 2"),
        ({"worker_concurrency": 1_001}, "worker_concurrency: must be less than or equal to 1000"),
        ({"reserved_concurrency": True}, "reserved_concurrency: must be a whole number"),
        *(
            (
                {"caller_account_ids": ids},
                "caller_account_ids: must be the ids of accounts, 12 digits each, as text, "
                "separated by commas",
            )
            for ids in (
                *("", "*", "1234567890123", "12345678901", "123456789012,", "123456789012\n1"),
                *("arn:aws:iam::123456789012:root", "١٢٣٤٥٦٧٨٩٠١٢", 123456789012, [123456789012]),
            )
        ),
        (
            {"caller_account_ids": "123456789012, 123456789012"},
            "caller_account_ids: must name each account once",
        ),
        (
            {"caller_account_ids": [f"{n:012}" for n in range(MOST_CALLER_ACCOUNTS + 1)]},
            "caller_account_ids: must be at most 20 accounts",
        ),
        ({"http_api": "off-ish"}, "http_api: must be true or false"),
        (
            {"http_requests_per_second": 0},
            "http_requests_per_second: must be greater than or equal to 1",
        ),
        (
            {"http_requests_per_second": "10001"},
            "http_requests_per_second: must be less than or equal to 10000",
        ),
        ({"http_requests_per_second": 0.5}, "http_requests_per_second: must be a whole number"),
        ({"http_requests_per_second": True}, "http_requests_per_second: must be a whole number"),
        ({"http_burst": "0"}, "http_burst: must be greater than or equal to 1"),
        ({"http_burst": 5_001}, "http_burst: must be less than or equal to 5000"),
        ({"devices": "maybe"}, "devices: must be true or false"),
        ({"device_expiry_days": "0"}, "device_expiry_days: must be greater than or equal to 1"),
        ({"device_expiry_days": 3_651}, "device_expiry_days: must be less than or equal to 3650"),
        ({"jobs": "some"}, "jobs: must be true or false"),
        *(
            (
                {"job_bucket_arns": arns},
                "job_bucket_arns: must be ARNs of buckets (arn:aws:s3:::name), without a path, "
                "separated by commas",
            )
            for arns in (
                *("", "files", "arn:aws:s3:::*", "arn:aws:s3:::files/*", "arn:aws:s3:::a,"),
                *("arn:aws:s3:::f/a.csv", "arn:aws:s3:::{{resolve:ssm:a}}", 5, {"a": "b"}),
            )
        ),
        *(
            (
                {"kms_key_arn": key},
                "kms_key_arn: must be the ARN of a key in KMS "
                "(arn:aws:kms:region:account:key/id), not of an alias",
            )
            for key in (
                *("", 5, "alias/push", KEY.replace(":key/", ":alias/"), KEY.split("/")[1]),
                *(f"{KEY}*", f"{KEY} ", KEY.replace("123456789012", ""), f"{KEY}/{{{{resolve"),
            )
        ),
        (
            {"job_bucket_arns": [f"arn:aws:s3:::files-{n}" for n in range(MOST_JOB_BUCKETS + 1)]},
            "job_bucket_arns: must be at most 20 buckets",
        ),
        (
            {**JWTS, "jwt_requests_per_second": 0},
            "jwt_requests_per_second: must be greater than or equal to 1",
        ),
        ({**JWTS, "jwt_burst": "5001"}, "jwt_burst: must be less than or equal to 5000"),
        ({**JWTS, "http_jwt": "perhaps"}, "http_jwt: must be true or false"),
        *(
            (
                {**JWTS, "jwt_issuer": issuer},
                "jwt_issuer: must be an https URL without a query, letter for letter the iss of "
                "the JWTs",
            )
            for issuer in (
                "http://id.example.com",
                "id.example.com",
                "https://",
                "https://id.example.com?a=b",
                "https://id.example.com/#a",
                "https://me@id.example.com",
                "https://id.example.com/ a",
                "https://id.example.com/{{resolve:ssm:a}}",
                "https://id.example.com\n",
                f"https://id.example.com/{'a' * 1_024}",
                5,
            )
        ),
        *(
            (
                {**JWTS, "jwt_audience": audience},
                "jwt_audience: must be audiences without spaces, separated by commas",
            )
            for audience in ("", "a,,b", "a b", "{{resolve:ssm:a}}", "a" * 257, 5, {"a": "b"})
        ),
        *(
            (
                {**JWTS, "jwt_audience": audience},
                "jwt_audience: must be 1 to 50 audiences, separated by commas",
            )
            for audience in ([], [*MANY, "app"])
        ),
        ({"log_level": "info"}, "log_level: must be 'DEBUG', 'INFO', 'WARN' or 'ERROR'"),
        ({"architecture": "arm"}, "architecture: must be 'arm64' or 'x86_64'"),
        ({"application_id": "my app"}, "application_id: must be a project's id: 32 hex digits"),
        (
            {"extra_application_ids": {"a": "b"}},
            "extra_application_ids: must be projects' ids, each 32 hex digits, separated by commas",
        ),
        (
            {"extra_application_ids": "a,b"},
            "extra_application_ids: must be projects' ids, each 32 hex digits, separated by commas",
        ),
        ({"alarm_email": "a@b"}, "alarm_email: must be an e-mail address"),
        ({"alarm_topic_arn": "alarms"}, "alarm_topic_arn: must be the ARN of an SNS topic"),
        *(
            (
                {"stage": stage},
                "stage: must be lower-case letters, digits and hyphens, a letter first, 20 at most",
            )
            for stage in ("", "Dev", "1dev", "dev_1", "dev\n", "x" * 21, 5)
        ),
    ],
)
def test_a_bad_value_is_reported_with_the_rule(context: dict[str, Any], line: str) -> None:
    assert faults(**context) == [line]


def test_an_unsupported_retention_is_refused_with_the_possible_values() -> None:
    (line,) = faults(log_retention_days="31")
    assert line.startswith("log_retention_days: must be one of 1, 3, 5, 7, 14, 30, 60, ")


def test_impossible_combinations_are_reported_at_once() -> None:
    context = {
        "application_id": PROJECT,
        "fcm_secret": "a",
        "apns_secret": "b",
        "apns_certificate_secret": "c",
        "alarm_email": "on-call@example.com",
        "alarm_topic_arn": TOPIC,
        "http_api": "false",
        "http_burst": "200",
        "http_requests_per_second": "100",
    }
    assert faults(**context) == [
        "fcm_secret, apns_secret, apns_certificate_secret: cannot be set beside application_id; "
        "the channels of an existing project are set up where it is",
        "apns_secret and apns_certificate_secret: choose one; a channel has one credential",
        "alarm_email and alarm_topic_arn: choose one",
        "http_requests_per_second, http_burst: cannot be set beside http_api false; without an "
        "HTTP API there is nothing to limit",
    ]


def test_limits_without_the_http_api_are_refused_only_if_given() -> None:
    assert Settings.from_context({"http_api": False, "http_burst": None}).http_api is False
    assert Settings.from_context({"http_api": True, "http_burst": 7}).http_burst == 7
    assert faults(http_api=False, http_burst=7) == [
        "http_burst: cannot be set beside http_api false; without an HTTP API there is nothing "
        "to limit"
    ]


_TOO_MANY_WORKERS = (
    "worker_concurrency: set it to reserved_concurrency at most (its default is 10); Lambda would "
    "take more messages than it may process, and they would end as dead letters"
)


@pytest.mark.parametrize(
    ("context", "lines"),
    [
        (
            {"reserved_concurrency": 1},
            ["reserved_concurrency: must be greater than or equal to 2", _TOO_MANY_WORKERS],
        ),
        ({"reserved_concurrency": "9"}, [_TOO_MANY_WORKERS]),
        ({"reserved_concurrency": 20, "worker_concurrency": "21"}, [_TOO_MANY_WORKERS]),
        (
            {"reserved_concurrency": "3", "worker_concurrency": 4, "memory_mb": "little"},
            ["memory_mb: must be a whole number", _TOO_MANY_WORKERS],
        ),
        (
            {"reserved_concurrency": "9" * 5_000, "memory_mb": "little"},
            [
                "reserved_concurrency: must be a whole number",
                "memory_mb: must be a whole number",
            ],
        ),
    ],
)
def test_more_workers_than_the_function_may_run_are_refused(
    context: dict[str, Any], lines: list[str]
) -> None:
    assert sorted(faults(**context)) == sorted(lines)


_NOTHING_WITHOUT_HTTP = (
    "cannot be set beside http_api false; without an HTTP API no route takes a JWT"
)
_BOTH = "too; a JWT is checked with both"


@pytest.mark.parametrize(
    ("context", "lines"),
    [
        ({"jwt_issuer": JWTS["jwt_issuer"]}, [f"jwt_issuer: set jwt_audience, {_BOTH}"]),
        ({"jwt_audience": "app"}, [f"jwt_audience: set jwt_issuer, {_BOTH}"]),
        (
            {"jwt_burst": 7, "http_jwt": True},
            [f"jwt_burst, http_jwt: set jwt_issuer and jwt_audience, {_BOTH}"],
        ),
        ({**JWTS, "http_api": False}, [f"jwt_issuer, jwt_audience: {_NOTHING_WITHOUT_HTTP}"]),
        (
            {**JWTS, "http_api": "no", "http_jwt": "true", "http_burst": 7},
            [
                "http_burst: cannot be set beside http_api false; without an HTTP API there is "
                "nothing to limit",
                f"jwt_issuer, jwt_audience, http_jwt: {_NOTHING_WITHOUT_HTTP}",
            ],
        ),
        (
            {"devices": "false", "device_expiry_days": "30"},
            [
                "device_expiry_days: cannot be set beside devices false; without devices there is "
                "nothing that expires"
            ],
        ),
        (
            {"jobs": "false", "job_bucket_arns": "arn:aws:s3:::files"},
            [
                "job_bucket_arns: cannot be set beside jobs false; without jobs no bucket is read",
            ],
        ),
        (
            {"retain_data": "false", "deletion_protection": "true"},
            [
                "deletion_protection: cannot be set beside retain_data false; without data that "
                "remains, protected tables only prevent the removal",
            ],
        ),
        (
            {**JWTS, "devices": False, "jwt_burst": 7, "http_jwt": False},
            [
                "jwt_issuer, jwt_audience, jwt_burst: no route would take a JWT; set devices or "
                "http_jwt to true, or remove these settings"
            ],
        ),
    ],
)
def test_a_setting_without_effect_is_refused_with_its_cure(
    context: dict[str, Any], lines: list[str]
) -> None:
    assert faults(**context) == lines


@pytest.mark.parametrize(
    "context",
    [
        JWTS,
        {**JWTS, "http_jwt": True},
        {**JWTS, "http_jwt": "true", "devices": "false"},
        {"http_jwt": "false", "http_api": "false", "devices": "false"},
        {"http_api": False, "device_expiry_days": 30},
        {"reserved_concurrency": 10},
        {"retain_data": "false", "deletion_protection": "false"},
        {"reserved_concurrency": "2", "worker_concurrency": 2},
    ],
)
def test_settings_that_have_an_effect_together_are_accepted(context: dict[str, Any]) -> None:
    Settings.from_context(context)


# ------------------------------------------------------------------ where the errors are shown


def test_the_table_in_the_docs_equals_the_code() -> None:
    page = (REPOSITORY / "docs" / "settings.md").read_text()
    assert table() in page, "put what `python -m infra.settings` prints into docs/settings.md"
    for name in Settings.model_fields:
        assert f"| `{name}` |" in table()


def test_the_app_ends_with_the_errors_only(tmp_path: Path) -> None:
    # Given settings with pasted secrets, as the CDK's command line passes them on
    context = {**PASTED, "memmory_mb": CANARY}
    given = {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(tmp_path / "cdk.out")}
    # When the app runs
    result = subprocess.run(
        [sys.executable, "app.py"],
        cwd=REPOSITORY,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    # Then it lists every error, and nothing else
    assert result.returncode == 1
    assert result.stdout == ""
    first, *lines = result.stderr.splitlines()
    assert first == "The settings (the context in cdk.json, or -c) cannot be used:"
    assert {line.split(":")[0].strip() for line in lines} == {*impossible_in(context), *context}
    # And no secret is anywhere
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert CANARY not in result.stderr + "".join(path.read_text() for path in written)
