"""Callers of the HTTP API: the programs in examples/, an app, a client made from the document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.issuer.client import fetch_token
from sandbox.stack.account import REGION
from sandbox.stack.deployment import Deployment
from tests.support.paths import REPOSITORY

BIN = Path(sys.executable).parent

CLIENT = '''
"""Uses the client that was generated, as docs/http.md tells it."""
import os, sys
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
import botocore.session
from push_sender_client import AuthenticatedClient, Client
from push_sender_client.api.default import delete_device, delete_my_device, erase_user, get_device
from push_sender_client.api.default import get_openapi, list_devices, register_device
from push_sender_client.api.default import register_my_device, send_messages
from push_sender_client.api.default import send_messages_with_jwt
from push_sender_client.models import Device, GatewayError, MyRegistration, MyRegistrationService
from push_sender_client.models import Problem, PushRequest, Recipient, RecipientService
from push_sender_client.models import Registration, RegistrationAttributesType0
from push_sender_client.models import RegistrationService, Report

class SigV4(httpx.Auth):
    requires_request_body = True

    def auth_flow(self, request):
        signed = AWSRequest(request.method, str(request.url),
                            {"Content-Type": "application/json"}, request.content)
        credentials = botocore.session.Session().get_credentials()
        SigV4Auth(credentials, "execute-api", os.environ["AWS_REGION"]).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request

client = Client(base_url=os.environ["API_URL"], httpx_args={"auth": SigV4()}, timeout=35)
device = Recipient(token="generated", service=RecipientService.ADM)
body = PushRequest(message="m", recipients=[device])
report = send_messages.sync(client=client, body=body, idempotency_key="generated-1")
assert isinstance(report, Report), report
assert report.results[0].outcome == "accepted", report
assert send_messages.sync(client=client, body=body, idempotency_key="generated-1").replayed

accepted = send_messages.sync(client=client, body=body, prefer="respond-async")
assert accepted.id == accepted.idempotency_key

bad = send_messages.sync(client=client, body=PushRequest(message="m", ttl=-1, recipients=[device]))
assert isinstance(bad, Problem), bad
assert [fault.path for fault in bad.faults] == ["ttl"], bad

stranger = Client(base_url=os.environ["API_URL"], timeout=35)
refused = send_messages.sync(client=stranger, body=body)
assert isinstance(refused, GatewayError), refused
assert refused.message == "Forbidden"

assert get_openapi.sync(client=client)["openapi"] == "3.1.0"

attributes = RegistrationAttributesType0.from_dict({"plan": "gold"})
ios = Registration(token="generated", service=RegistrationService.APNS, user_id="auth0|ann@x",
                   time_zone="Europe/Vienna", tags=["beta"], attributes=attributes)
created = register_device.sync_detailed("phone", client=client, body=ios)
assert created.status_code == 201
assert isinstance(created.parsed, Device), created
assert created.parsed.attributes["plan"] == "gold"
same = Registration(token="generated", service=RegistrationService.APNS, language="de")
changed = register_device.sync_detailed("phone", client=client, body=same)
assert changed.status_code == 200
assert (changed.parsed.user_id, changed.parsed.tags) == ("auth0|ann@x", ["beta"])
assert get_device.sync("phone", client=client) == changed.parsed
assert list_devices.sync("auth0|ann@x", client=client).devices == [changed.parsed]
same.user_id = None
assert register_device.sync("phone", client=client, body=same).user_id is None
wrong = register_device.sync("phone", client=client, body=Registration("a b", ios.service))
assert [fault.path for fault in wrong.faults] == ["token"], wrong
assert delete_device.sync_detailed("phone", client=client).status_code == 204
gone = get_device.sync("phone", client=client)
assert gone.type_ == "urn:push-sender:problem:device-not-found", gone
assert erase_user.sync_detailed("auth0|ann@x", client=client).status_code == 204

app = AuthenticatedClient(base_url=os.environ["API_URL"], token=os.environ["JWT"], timeout=35)
own = MyRegistration(token="generated", service=MyRegistrationService.ADM)
assert register_my_device.sync("phone", client=app, body=own).user_id == "ann"
assert isinstance(send_messages_with_jwt.sync(client=app, body=body), Report)
assert delete_my_device.sync_detailed("phone", client=app).status_code == 204
nobody = AuthenticatedClient(base_url=os.environ["API_URL"], token="none", timeout=35)
refused = register_my_device.sync("phone", client=nobody, body=own)
assert isinstance(refused, GatewayError), refused
'''

APP = """
import { MyDevice } from "./examples/http/app.mjs";

const stored = new Map();
const storage = {
  getItem: async (name) => stored.get(name) ?? null,
  setItem: async (name, value) => void stored.set(name, value),
};
const { API_URL, ANN, BOB, EXPIRED } = process.env;
let session = { fresh: ANN };
const jwt = async ({ renew }) => {
  if (renew) session.jwt = session.fresh;
  return session.jwt ?? EXPIRED;
};
const device = new MyDevice({ apiUrl: API_URL, storage, jwt });
const registered = [
  await device.register({ token: "app-1", service: "GCM", language: "de" }),
  await device.register({ token: "app-2", service: "GCM" }),
];
session = { fresh: BOB };
registered.push(await device.register({ token: "app-2", service: "GCM" }));
await device.signOut();
await device.signOut();
const refused = await device.register({ token: "", service: "GCM" }).catch((error) => error);
const faults = refused.cause.faults;
console.log(JSON.stringify({ registered, faults, ids: [...stored.values()] }));
"""


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(deployment: Deployment, tmp_path: Path) -> Run:
    """Give a function that runs a program with permission to call the API."""

    def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return subprocess.run(
            list(map(str, command)),
            cwd=REPOSITORY,
            env={
                **others,
                "API_URL": deployment.outputs["ApiUrl"],
                "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": "sandbox",
                "AWS_CONFIG_FILE": str(tmp_path / "none"),
                "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def jwt_of(deployment: Deployment, sub: str, **order: Any) -> str:
    """Get a JWT from the sandbox's issuer."""
    return fetch_token(int(deployment.url.rpartition(":")[2]), {"sub": sub, **order})


def entry_points(deployment: Deployment, token: str) -> list[str]:
    """Give the entry point of each push to a device."""
    address = f"{deployment.url}/sandbox/messages?token={token}"
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        return [message["entry_point"] for message in json.loads(answer.read())["messages"]]


def each_example(name: str) -> pytest.MarkDecorator:
    """Run a test with an example in each language."""
    programs = {
        "curl": ("sh", f"examples/http/{name}.sh"),
        "Python": (sys.executable, f"examples/http/{name}.py"),
        "JavaScript": (str(BIN / "node"), f"examples/http/{name}.mjs"),
    }
    return pytest.mark.parametrize("program", programs.values(), ids=list(programs))


@each_example("send")
@pytest.mark.usefixtures("node_modules")
def test_each_example_sends_a_request_once_and_fails_without_permission(
    run: Run, deployment: Deployment, tmp_path: Path, program: tuple[str, str]
) -> None:
    token = f"by-{program[1].rpartition('.')[2]}"
    request = tmp_path / "request.json"
    event: dict[str, Any] = {"recipient": {"token": token, "service": "ADM"}, "message": "é"}
    request.write_text(json.dumps(event, ensure_ascii=False))
    invalid = tmp_path / "invalid.json"
    invalid.write_text(json.dumps({**event, "ttl": "soon"}))

    first, again = (run(*program, request, f"key-{token}") for _ in range(2))
    # An address that was copied from a browser ends with a slash.
    without_key = run(*program, request, API_URL=f"{deployment.outputs['ApiUrl']}/")
    bad = run(*program, invalid)
    stranger = run(*program, request, AWS_SECRET_ACCESS_KEY="wrong")

    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout)["summary"] == {"recipients": 1, "accepted": 1}
    assert json.loads(again.stdout)["replayed"] is True
    assert json.loads(without_key.stdout)["replayed"] is False
    assert bad.returncode != 0
    assert json.loads(bad.stdout)["faults"] == [
        {"path": "ttl", "message": "must be a whole number, not text"}
    ]
    assert stranger.returncode != 0
    assert json.loads(stranger.stdout) == {"message": "Forbidden"}
    assert entry_points(deployment, token) == ["http", "http"]


@each_example("send")
@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ((), {}, "usage: send."),
        (("examples/first-push.json",), {"API_URL": ""}, "API_URL"),
        (("examples/nowhere.json",), {}, "examples/nowhere.json"),
        (("examples/first-push.json",), {"API_URL": "http://127.0.0.1:1"}, ""),
        (("examples/first-push.json",), {"AWS_SECRET_ACCESS_KEY": ""}, ""),
    ],
    ids=["no argument", "no address", "no file", "no connection", "no credentials"],
)
@pytest.mark.usefixtures("node_modules")
def test_an_example_reports_missing_settings_in_one_line(
    run: Run,
    program: tuple[str, str],
    arguments: tuple[str, ...],
    variables: dict[str, str],
    expected: str,
) -> None:
    lacking = run(*program, *arguments, **variables)

    (line,) = lacking.stderr.split("\n")[:-1]
    assert lacking.returncode != 0
    assert expected in line


@each_example("devices")
@pytest.mark.usefixtures("node_modules")
def test_each_example_registers_a_device_and_forgets_its_user(
    run: Run, tmp_path: Path, program: tuple[str, str]
) -> None:
    language = program[1].rpartition(".")[2]
    device, user = f"device-{language}", f"user-{language}"
    file = tmp_path / "device.json"
    given = json.loads((REPOSITORY / "examples" / "http" / "device.json").read_text())
    file.write_text(json.dumps({**given, "token": device, "user_id": user}))
    invalid = tmp_path / "invalid.json"
    invalid.write_text(json.dumps({**given, "time_zone": "Atlantis"}))

    def answer(*command: str | Path, **environment: str) -> Any:
        done = run(*program, *command, **environment)
        assert (done.returncode == 0) == (done.stderr == ""), done
        return json.loads(done.stdout) if done.stdout else None

    registered = answer("register", device, file)
    assert (registered["device_id"], registered["user_id"]) == (device, user)
    assert answer("show", device) == registered
    assert answer("list", user) == {"devices": [registered]}
    assert answer("delete", device) is None
    assert answer("list", user) == {"devices": []}
    answer("register", device, file)
    assert answer("erase", user) is None
    assert answer("show", device)["type"] == "urn:push-sender:problem:device-not-found"
    assert answer("register", device, invalid)["faults"][0]["path"] == "time_zone"
    assert answer("show", device, AWS_SECRET_ACCESS_KEY="wrong") == {"message": "Forbidden"}


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(
    "program", ["python examples/http/devices.py", "node examples/http/devices.mjs"]
)
def test_an_example_signs_a_path_with_every_character_of_an_id(run: Run, program: str) -> None:
    listed = run(*program.split(), "list", "auth0|Ann.B:1~2+3=4@x_y-z", PATH=f"{BIN}")

    assert (json.loads(listed.stdout), listed.stderr) == ({"devices": []}, "")


@pytest.mark.parametrize(
    "command", ["send.sh examples/user.json", "devices.sh show d"], ids=["send", "devices"]
)
def test_an_example_of_curl_says_where_the_sandbox_shows_the_address(
    run: Run, command: str
) -> None:
    lacking = run(*f"examples/http/{command}".split(), API_URL="")

    assert "(in the sandbox: `make sandbox` prints the command)" in lacking.stderr


def test_the_example_of_curl_refuses_an_id_that_it_cannot_sign(run: Run) -> None:
    refused = run("examples/http/devices.sh", "list", "ann@example.com")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "sign a character of this id wrongly: use devices.py" in refused.stderr


@each_example("devices")
@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ((), {}, "usage: devices."),
        (("register",), {}, "usage: devices."),
        (("register", "d"), {}, "usage: devices."),
        (("find", "d"), {}, "usage: devices."),
        (("register", "d", "nowhere.json"), {}, "nowhere.json"),
        (("show", "d"), {"API_URL": ""}, "API_URL"),
        (("show", "d"), {"API_URL": "http://127.0.0.1:1"}, ""),
    ],
    ids=["nothing", "no id", "no file", "no command", "missing file", "no address", "no answer"],
)
@pytest.mark.usefixtures("node_modules")
def test_an_example_of_devices_reports_missing_settings_in_one_line(
    run: Run,
    program: tuple[str, str],
    arguments: tuple[str, ...],
    variables: dict[str, str],
    expected: str,
) -> None:
    lacking = run(*program, *arguments, **variables)

    (line,) = lacking.stderr.split("\n")[:-1]
    assert lacking.returncode != 0
    assert expected in line


def test_the_example_of_an_app_registers_itself_and_signs_out(
    run: Run, deployment: Deployment
) -> None:
    ann, bob, expired = (
        jwt_of(deployment, sub, expires_in=seconds)
        for sub, seconds in (("app-ann", 60), ("app-bob", 60), ("app-ann", 0))
    )

    app = run(*(BIN / "node", "--input-type=module", "-e", APP), ANN=ann, BOB=bob, EXPIRED=expired)

    assert (app.returncode, app.stderr) == (0, "")
    done = json.loads(app.stdout)
    known = ("device_id", "user_id", "token", "language")
    (id_,) = done["ids"]
    assert [[device[name] for name in known] for device in done["registered"]] == [
        [id_, "app-ann", "app-1", "de"],
        [id_, "app-ann", "app-2", "de"],
        [id_, "app-bob", "app-2", "de"],
    ]
    assert all(device["time_zone"] for device in done["registered"])
    assert [fault["path"] for fault in done["faults"]] == ["token"]
    for user in ("app-ann", "app-bob"):
        listed = run(sys.executable, "examples/http/devices.py", "list", user)
        assert json.loads(listed.stdout) == {"devices": []}


def test_a_client_generated_from_the_document_sends_and_registers(
    run: Run, deployment: Deployment, tmp_path: Path
) -> None:
    client = tmp_path / "push_sender_client"
    generated = run(
        BIN / "openapi-python-client",
        *("generate", "--path", "docs/openapi.json", "--output-path", client, "--meta", "none"),
        PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}",  # it formats with ruff
    )
    assert (generated.returncode, "WARNING" in generated.stdout) == (0, False), generated.stdout

    jwt = jwt_of(deployment, "ann", scope="push:send")
    sent = run(sys.executable, "-c", CLIENT, PYTHONPATH=str(tmp_path), JWT=jwt)

    assert (sent.returncode, sent.stderr) == (0, "")
    assert entry_points(deployment, "generated")[0] == "http"
