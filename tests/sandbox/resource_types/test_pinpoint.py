"""Resource types of the sandbox: pinpoint projects and channels."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service_sandbox import ServiceSandbox
from tests.support.templates import (
    ACCOUNT,
    PROJECT,
    REGION,
    Template,
    output,
    outputs,
    resource,
)

CANARY = "canary-of-a-secret"


TOKEN = {"TokenKey": "k", "TokenKeyId": "i", "TeamId": "t", "BundleId": "b"}
CERTIFICATE = {"Certificate": "c", "PrivateKey": "p"}
CREDENTIALS: dict[str, dict[str, str]] = {
    "GCM": {"DefaultAuthenticationMethod": "TOKEN", "ServiceJson": '{"type": "made up"}'},
    "APNS": {"DefaultAuthenticationMethod": "TOKEN", **TOKEN},
    "APNSSandbox": {"DefaultAuthenticationMethod": "KEY", **TOKEN},
    "APNSVoip": {"DefaultAuthenticationMethod": "certificate", **CERTIFICATE},
    "APNSVoipSandbox": CERTIFICATE,
    "Baidu": {"ApiKey": "k", "SecretKey": "s"},
    "ADM": {"ClientId": "i", "ClientSecret": "s"},
}


def channel(kind: str, **properties: Any) -> Template:
    return resource(f"Pinpoint::{kind}Channel", ApplicationId={"Ref": "App"}, **properties)


def test_a_stack_creates_a_project_with_every_channel(sandbox: ServiceSandbox) -> None:
    channels = {kind: channel(kind, Enabled=True, **own) for kind, own in CREDENTIALS.items()}
    arn = {"Fn::GetAtt": ["App", "Arn"]}

    stack = sandbox.create({**channels, "App": PROJECT}, Outputs=output(Id={"Ref": "App"}, Arn=arn))

    assert stack["StackStatus"] == "CREATE_COMPLETE"
    project = outputs(stack)["Id"]
    pinpoint = sandbox.client("pinpoint")
    assert pinpoint.get_app(ApplicationId=project)["ApplicationResponse"]["Name"] == "demo"
    assert outputs(stack)["Arn"] == f"arn:aws:mobiletargeting:{REGION}:{ACCOUNT}:apps/{project}"
    assert pinpoint.list_tags_for_resource(ResourceArn=outputs(stack)["Arn"])["TagsModel"][
        "tags"
    ] == {"team": "push"}
    made = pinpoint.get_channels(ApplicationId=project)["ChannelsResponse"]["Channels"]
    assert {
        name: (one["Enabled"], one["HasCredential"], one["ApplicationId"])
        for name, one in made.items()
    } == dict.fromkeys(
        ["ADM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "GCM"],
        (True, True, project),
    )
    gcm = pinpoint.get_gcm_channel(ApplicationId=project)["GCMChannelResponse"]
    assert (gcm["DefaultAuthenticationMethod"], gcm["HasFcmServiceCredentials"]) == ("TOKEN", True)
    assert sandbox.id_of("GCM") == project


@pytest.mark.parametrize(
    ("kind", "properties", "reason"),
    [
        ("GCM", {"DefaultAuthenticationMethod": "TOKEN"}, "needs ServiceJson"),
        ("GCM", {"DefaultAuthenticationMethod": "TOKEN", "ServiceJson": ""}, "needs ServiceJson"),
        ("GCM", {"ServiceJson": "{}"}, "DefaultAuthenticationMethod KEY needs ApiKey"),
        (
            "GCM",
            {"DefaultAuthenticationMethod": "TOKEN", "ServiceJson": f"{{{CANARY}"},
            "ServiceJson is not a JSON object",
        ),
        ("GCM", {"DefaultAuthenticationMethod": CANARY}, "must be KEY or TOKEN"),
        (
            "APNS",
            {"DefaultAuthenticationMethod": "TOKEN", "TokenKey": CANARY, "TeamId": "t"},
            "needs TokenKeyId, BundleId",
        ),
        ("APNSSandbox", {"Certificate": CANARY}, "needs PrivateKey"),
        ("APNSVoip", TOKEN, "DefaultAuthenticationMethod CERTIFICATE needs Certificate, Priv"),
        ("APNSVoipSandbox", {}, "needs Certificate, PrivateKey"),
        ("Baidu", {"ApiKey": CANARY}, "The BAIDU channel needs SecretKey"),
        ("ADM", {"ClientSecret": CANARY}, "The ADM channel needs ClientId"),
    ],
)
def test_a_channel_without_its_credentials_fails_the_stack(
    sandbox: ServiceSandbox, kind: str, properties: dict[str, str], reason: str
) -> None:
    stack = sandbox.create({"App": PROJECT, "Faulty": channel(kind, Enabled=True, **properties)})

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "[Faulty]" in stack["StackStatusReason"]
    assert reason in stack["StackStatusReason"]
    assert CANARY not in stack["StackStatusReason"]
    assert sandbox.client("pinpoint").get_apps()["ApplicationsResponse"]["Item"] == []


def test_a_channel_of_an_unknown_project_fails_the_stack(sandbox: ServiceSandbox) -> None:
    lost = resource("Pinpoint::ADMChannel", ApplicationId="nobodys", **CREDENTIALS["ADM"])

    stack = sandbox.create({"Lost": lost})

    assert "[Lost]. ApplicationId names no project" in stack["StackStatusReason"]


def test_a_channel_is_updated_and_deleted_with_its_stack(sandbox: ServiceSandbox) -> None:
    def sent() -> str:
        project = sandbox.id_of("App")
        answer = sandbox.client("pinpoint").send_messages(
            ApplicationId=project,
            MessageRequest={
                "Addresses": {"t": {"ChannelType": "ADM"}},
                "MessageConfiguration": {"ADMMessage": {"Body": "hello"}},
            },
        )
        return str(answer["MessageResponse"]["Result"]["t"]["DeliveryStatus"])

    adm = CREDENTIALS["ADM"]
    sandbox.create({"App": PROJECT, "Adm": channel("ADM", **adm)})
    statuses = [sent()]
    for enabled in (True, "false", "true"):
        sandbox.update({"App": PROJECT, "Adm": channel("ADM", Enabled=enabled, **adm)})
        statuses.append(sent())
    sandbox.update({"App": PROJECT})

    no, yes = "PERMANENT_FAILURE", "SUCCESSFUL"
    assert [*statuses, sent()] == [no, yes, no, yes, no]


def test_a_project_keeps_its_id_when_its_tags_change(sandbox: ServiceSandbox) -> None:
    project = outputs(sandbox.create({"App": PROJECT}, Outputs=output(Id={"Ref": "App"})))["Id"]
    tags = [{"Key": "stage", "Value": "test"}]

    arn = outputs(
        sandbox.update(
            {"App": resource("Pinpoint::App", Name="demo", Tags=tags)},
            Outputs=output(Arn={"Fn::GetAtt": ["App", "Arn"]}),
        )
    )["Arn"]

    assert arn.endswith(f"apps/{project}")
    result = sandbox.client("pinpoint").list_tags_for_resource(ResourceArn=arn)["TagsModel"]
    assert result["tags"] == {"stage": "test"}


def test_a_new_name_creates_a_new_project_and_its_channels_move(sandbox: ServiceSandbox) -> None:
    resources = {"App": PROJECT, "Adm": channel("ADM", Enabled=True, **CREDENTIALS["ADM"])}
    before = outputs(sandbox.create(resources, Outputs=output(Id={"Ref": "App"})))["Id"]

    renamed = {**resources, "App": resource("Pinpoint::App", Name="renamed")}
    after = outputs(sandbox.update(renamed, Outputs=output(Id={"Ref": "App"})))["Id"]

    pinpoint = sandbox.client("pinpoint")
    apps = pinpoint.get_apps()["ApplicationsResponse"]["Item"]
    assert [(app["Id"], app["Name"]) for app in apps] == [(after, "renamed")]
    assert after != before
    assert pinpoint.get_adm_channel(ApplicationId=after)["ADMChannelResponse"]["Enabled"]
