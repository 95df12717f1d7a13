"""The smoke test's check of the HTTP API, against servers on loopback that answer wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.account import Account, FailedCall, HttpResponse
from operations.deployed import DeployedStack
from operations.redaction import redact
from operations.smoke.context import CheckContext, CheckResult
from operations.smoke.http_check import check_http
from operations.smoke.nonexistent_devices import request
from operations.smoke.raw_answers import RawAnswer, RawAnswers
from tests.commands.test_operations import ANY_JSON, DEVICES, PROJECT, RAW, sound_report
from tests.support.loopback import LoopbackHandler, Reply, serving

SESSION_TOKEN = "the-session/token+of=somebody"
CALLER = Credentials("ASIAABCDEFGHIJKLMNOP", "the-secret", SESSION_TOKEN)
JSON_TYPE = {"Content-Type": "application/json"}
PROBLEM_TYPE = {"Content-Type": "application/problem+json"}


def reply(body: Any, status: int = 200, headers: Mapping[str, str] = JSON_TYPE) -> Reply:
    return Reply(status, json.dumps(body).encode(), dict(headers))


FORBIDDEN = reply({"message": "Forbidden"}, 403)


class Received(NamedTuple):
    """A received request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_signed(self) -> bool:
        return "authorization" in self.headers


class Api:
    """An HTTP API that records requests, with answers for signed and unsigned ones."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Received] = []
        self.signed: Callable[[Received], Reply] = lambda _: reply(sound_report())
        self.unsigned: Callable[[Received], Reply] = lambda _: FORBIDDEN

    def take(self, asked: Received) -> Reply:
        self.asked.append(asked)
        return self.signed(asked) if asked.is_signed else self.unsigned(asked)


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            headers = {name.lower(): value for name, value in self.headers.items()}
            return api.take(Received(self.path, headers, body))

    with serving(Handler) as url:
        api.url = f"{url}/api"
        yield api


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": CALLER.access_key,
        "AWS_SECRET_ACCESS_KEY": CALLER.secret_key,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
    }.items():
        monkeypatch.setenv(name, value)
    return Account()


class HttpCheck:
    """Runs the check against an API."""

    def __init__(self, account: Account, api: Api) -> None:
        self._account = account
        self.api = api

    def ask(self, raw: RawAnswers = RAW, **outputs: str) -> CheckResult:
        expected = {"ApplicationId": PROJECT, "FunctionName": "f:live", "ApiUrl": self.api.url}
        stack = DeployedStack("s", {**expected, **outputs})
        return check_http(CheckContext(self._account, stack, DEVICES, raw, 0))

    def failures(self, answer: Reply, raw: RawAnswers = RAW) -> str:
        self.api.signed = lambda _: answer
        return "\n".join(self.ask(raw).failures)


@pytest.fixture
def http_check(account: Account, api: Api) -> HttpCheck:
    return HttpCheck(account, api)


# --- a correct API


def test_a_correct_answer_passes_the_check(http_check: HttpCheck) -> None:
    assert http_check.ask() == CheckResult(
        "a report: 7 invalid_token; unsigned, 403",
        (),
        {
            "status": 200,
            "content_type": "application/json",
            "body": sound_report(),
            "unsigned": 403,
        },
    )


def test_it_sends_one_signed_request_and_one_unsigned_dry_run(
    http_check: HttpCheck, api: Api
) -> None:
    http_check.ask()

    signed, unsigned = api.asked
    assert (signed.path, unsigned.path) == ("/api/messages", "/api/messages")
    assert json.loads(signed.body) == request(*DEVICES)
    assert json.loads(unsigned.body) == request(DEVICES[0], dry_run=True)
    assert signed.headers["content-type"] == unsigned.headers["content-type"] == "application/json"
    assert [name for name in unsigned.headers if name.startswith(("x-amz", "auth"))] == []


def test_the_request_is_signed_by_the_caller_for_execute_api(
    http_check: HttpCheck, api: Api
) -> None:
    http_check.ask()

    headers = api.asked[0].headers
    again = AWSRequest("POST", f"{api.url}/messages", JSON_TYPE, api.asked[0].body)
    again.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(CALLER, "execute-api", "eu-west-1")
    again.headers["X-Amz-Date"] = headers["x-amz-date"]
    again.headers["X-Amz-Security-Token"] = headers["x-amz-security-token"]
    signature = signer.signature(
        signer.string_to_sign(again, signer.canonical_request(again)), again
    )
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert "/eu-west-1/execute-api/aws4_request," in headers["authorization"]


@pytest.mark.parametrize("written", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_media_type_may_have_parameters_or_capitals(http_check: HttpCheck, written: str) -> None:
    assert http_check.failures(reply(sound_report(), headers={"Content-Type": written})) == ""


def test_a_stack_without_the_output_has_no_http_api(http_check: HttpCheck, api: Api) -> None:
    answer = http_check.ask(ApiUrl="")

    assert (answer.failures, answer.is_deployed, api.asked) == ((), False, [])


# --- answers without a correct report


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({**sound_report(), "replayed": True}), "replayed is true"),
        (reply({**sound_report(), "results": []}), "not one for each recipient"),
        (reply({"id": "6f1f", "idempotency_key": "6f1f"}, 202), "answered 202, application/json: "),
        (reply(sound_report(), headers={}), "its answer is of no media type and not application/"),
        (reply(sound_report(), headers={"Content-Type": "text/html"}), "its answer is text/html"),
        (reply(sound_report(), headers=PROBLEM_TYPE), "is application/problem+json and not"),
        (Reply(body=b"<html>", headers=JSON_TYPE), "no report: a web page in place of an answer"),
        (Reply(body=b"", headers=JSON_TYPE), "it returned no report: nothing"),
        (Reply(body=b'{"results": [', headers=JSON_TYPE), 'it returned no report: {"results": ['),
        (reply([]), "it returned no report: []"),
        (reply(None), "it returned no report: null"),
        (Reply(301, b"", {"Location": "/elsewhere"}), "it answered 301, of no media type: nothing"),
        (Reply(502, b"<html>", {"Content-Type": "text/html"}), "502, text/html: a web page in"),
        (reply({"message": "Internal Server Error"}, 500), "API Gateway answered 500: Internal Se"),
        (reply({"message": ["odd"]}, 500), 'API Gateway answered 500: ["odd"]'),
        (FORBIDDEN, "answered 403: Forbidden; these credentials lack execute-api:Invoke on POST"),
        (
            reply({"title": "Not\nhere", "detail": "Nothing was \x1b[31msent"}, 404, PROBLEM_TYPE),
            "it answered 404: Not here: Nothing was ?[31msent",
        ),
        (reply({}, 500, PROBLEM_TYPE), "it answered 500, application/problem+json: {}"),
        (reply([], 500, PROBLEM_TYPE), "it answered 500, application/problem+json: []"),
    ],
)
def test_an_answer_without_a_correct_report_is_one_clear_line(
    http_check: HttpCheck, answer: Reply, expected: str
) -> None:
    failures = http_check.failures(answer)

    assert expected in failures
    assert len(failures.splitlines()) == 1


def test_a_missing_permission_is_named_only_if_api_gateway_forbids(http_check: HttpCheck) -> None:
    problem = {"title": "The project is not one of this service", "detail": "Nothing was sent"}

    assert "execute-api" not in http_check.failures(reply(problem, 403, PROBLEM_TYPE))
    assert "execute-api" not in http_check.failures(reply({"message": "Not Found"}, 404))


def test_a_report_that_differs_from_the_raw_answers_fails_the_check(http_check: HttpCheck) -> None:
    report = sound_report()
    report["results"][0]["status_code"] = 400

    assert http_check.failures(reply(report)).startswith(
        "GCM: the service answered PERMANENT_FAILURE 410, "
        "the function reports PERMANENT_FAILURE 400"
    )


REFUSED = {
    "type": "urn:push-sender:problem:refused",
    "title": "The push service refuses this service",
    "detail": "No push was tried",
}


def refused_by(code: str, status: int | None) -> dict[str, RawAnswer]:
    error = FailedCall(code, "because", status)
    return {device.service: RawAnswer(device, error=error) for device in DEVICES}


def test_a_refusal_is_correct_if_every_raw_call_is_refused_too(http_check: HttpCheck) -> None:
    http_check.api.signed = lambda _: reply(REFUSED, 502, PROBLEM_TYPE)

    answer = http_check.ask(refused_by("NotFoundException", 404))

    assert answer.failures == ()
    assert answer.message.startswith("502: the push service refuses every call")


@pytest.mark.parametrize(
    "raw",
    [
        RAW,
        {**refused_by("NotFoundException", 404), "GCM": RAW["GCM"]},
        refused_by("AccessDeniedException", 403),
        refused_by("TooManyRequestsException", 429),
        refused_by("ReadTimeoutError", None),
    ],
)
def test_a_refusal_fails_the_check_unless_every_raw_call_is_refused(
    http_check: HttpCheck, raw: RawAnswers
) -> None:
    expected = "it answered 502: The push service refuses this service: No push was tried"

    assert http_check.failures(reply(REFUSED, 502, PROBLEM_TYPE), raw) == expected


def test_another_problem_type_is_a_failure(http_check: HttpCheck) -> None:
    raw = refused_by("NotFoundException", 404)
    other = {**REFUSED, "type": "urn:push-sender:problem:throttled"}

    assert http_check.failures(reply(other, 502, PROBLEM_TYPE), raw) != ""
    assert http_check.failures(reply(REFUSED, 503, PROBLEM_TYPE), raw) != ""
    assert http_check.failures(reply(REFUSED, 502), raw) != ""


# --- unsigned requests


@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 404, 500])
def test_an_unsigned_request_must_be_answered_403(
    http_check: HttpCheck, api: Api, status: int
) -> None:
    api.unsigned = lambda _: reply(sound_report(), status)

    answer = http_check.ask()

    assert answer.failures == (
        f"an unsigned request is answered {status}, not 403: no route may be open",
    )
    assert answer.message.endswith(f"; unsigned, {status}")


def test_an_unsigned_request_without_an_answer_fails_the_check(
    http_check: HttpCheck, api: Api
) -> None:
    api.unsigned = lambda _: Reply(cut_off=True)

    (failure,) = http_check.ask().failures

    assert failure.startswith("it cannot be called unsigned: ConnectionClosedError: ")


# --- no answer at all


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:9", "EndpointConnectionError"),
        ("nonsense", "ValueError"),
        ("https://[", "ValueError"),
        ("http://127.0.0.1:port", "ValueError"),
        ("file:///etc", "ValueError"),
        ("ftp://127.0.0.1", "HTTPClientError"),
    ],
)
def test_an_unreachable_url_is_named(http_check: HttpCheck, url: str, code: str) -> None:
    answer = http_check.ask(ApiUrl=url)

    assert answer.message == "no answer"
    assert [failure.split(": ")[1] for failure in answer.failures] == [code]


def test_a_connection_that_breaks_fails_the_check(http_check: HttpCheck) -> None:
    assert http_check.failures(Reply(cut_off=True)).startswith(
        "it cannot be called: ConnectionClosedError: "
    )


def test_without_credentials_nothing_is_sent(
    account: Account, api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    error = Account().ask("POST", api.url, {})

    assert isinstance(error, FailedCall)
    assert error.code == "NoCredentialsError"
    assert api.asked == []


def test_it_uses_the_proxy_that_boto3_uses(
    http_check: HttpCheck, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", api.url)

    assert http_check.ask(ApiUrl="http://api.test").failures == ()
    assert [asked.path for asked in api.asked] == ["http://api.test/messages"] * 2


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_it_trusts_the_authorities_that_boto3_trusts(
    http_check: HttpCheck, api: Api, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "/none.pem")

    (failure,) = http_check.ask(ApiUrl=api.url.replace("http:", "https:")).failures

    assert "No such file" in failure


# --- secrets


@pytest.mark.parametrize("status", [200, 403, 500])
def test_the_signature_of_a_request_is_not_repeated(
    http_check: HttpCheck, api: Api, status: int
) -> None:
    def echo(asked: Received) -> Reply:
        canonical = "\n".join(f"{name}:{value}" for name, value in asked.headers.items())
        caller = {"userId": "AROAABCDEFGHIJKLMNOPQ:ann@example.com", "accessKey": CALLER.access_key}
        return reply({"message": canonical, "headers": asked.headers, "caller": caller}, status)

    api.signed = echo

    answer = http_check.ask()

    expected = json.dumps([answer.message, answer.failures, redact(answer.answer)])
    assert "(signature)" in expected
    signature = api.asked[0].headers["authorization"].rpartition("=")[2]
    for secret in (CALLER.access_key, CALLER.secret_key, SESSION_TOKEN, signature, "ann@"):
        assert secret not in expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    body=ANY_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(),
    status=st.sampled_from([200, 202, 400, 403, 502]),
    media_type=st.sampled_from(["application/json", "application/problem+json", "", ";", "a"]),
)
def test_an_answer_of_any_shape_is_handled(
    http_check: HttpCheck, body: bytes, status: int, media_type: str
) -> None:
    http_check.api.signed = lambda _: Reply(status, body, {"Content-Type": media_type})

    answer = http_check.ask()

    assert answer.failures != ()
    assert [line for line in (answer.message, *answer.failures) if "\n" in line] == []
    json.dumps(redact(answer.answer))


def test_an_answer_is_returned_unchanged(account: Account, api: Api) -> None:
    api.signed = lambda _: Reply(418, b"\xff", {"Content-Type": "a/b; c=d"})

    assert account.ask("POST", f"{api.url}/messages", {}) == HttpResponse(418, "a/b; c=d", b"\xff")
