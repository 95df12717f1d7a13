"""HTTP APIs in a sandbox, a raw client of them, and a function behind them."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.http_apis.requests import PREFIX
from tests.support.service_sandbox import ADMINISTRATOR, PUSHING, ServiceSandbox, assumed, zipped
from tests.support.templates import ACCOUNT, REGION, Template, joined, outputs, resource, template

FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:answers"
ALIAS_ARN = f"{FUNCTION_ARN}:live"

FUNCTION = (
    PUSHING
    + '''
"""Keeps each event, and does what a header of it asks for."""
def handler(event, context):
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    kept = os.path.join(os.environ["PLACE"], f"{time.time_ns()}-{os.getpid()}")
    with open(kept, "w") as file:
        json.dump({"event": event, "arn": context.invoked_function_arn, "trace": trace,
                   "request_id": context.aws_request_id}, file)
    os.rename(kept, kept + ".json")
    what = json.loads(event["headers"].get("x-do", "{}"))
    if "raise" in what:
        raise KeyError(what["raise"])
    if "wait" in what:
        while not os.path.exists(what["wait"]):
            time.sleep(0.01)
    if "push" in what:
        push(what["push"])
    return what.get("return", {"statusCode": 200, "body": "answered"})
'''
)


@dataclass(frozen=True)
class Answer:
    """The response that a client got."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def result(self) -> tuple[int, Any]:
        return self.status, json.loads(self.body)


def refused(status: int, message: str) -> tuple[int, Any]:
    return status, {"message": message}


FORBIDDEN = refused(403, "Forbidden")
NOT_FOUND = refused(404, "Not Found")
FAILED = refused(500, "Internal Server Error")
UNAVAILABLE = refused(503, "Service Unavailable")
TOO_LARGE = refused(413, "Request Entity Too Large")
TOO_MANY = refused(429, "Too Many Requests")


@dataclass(frozen=True)
class Api:
    """A deployed API and a client of it."""

    api_id: str
    url: str
    stack: str

    @property
    def host(self) -> str:
        return self.url.split("/")[2]

    @property
    def prefix(self) -> str:
        return f"{PREFIX}/{self.api_id}"

    def signed(
        self,
        method: str = "POST",
        path: str = "/messages",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        caller: Credentials = ADMINISTRATOR,
        scope: tuple[str, str] = ("execute-api", REGION),
    ) -> dict[str, str]:
        """Sign a request; give its headers."""
        request = AWSRequest(method, f"{self.url}{path}", data=body, headers=headers)
        SigV4Auth(caller, *scope).add_auth(request)
        return dict(request.headers.items())

    def ask(
        self,
        method: str = "POST",
        path: str = "/messages",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        caller: Credentials | None = ADMINISTRATOR,
    ) -> Answer:
        """Send a request, signed by a caller or unsigned."""
        wanted = dict(headers or {})
        if caller is not None:
            wanted = self.signed(method, path, body, wanted, caller=caller)
        return self.ask_with(method, path, body, list(wanted.items()))

    def ask_with(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> Answer:
        """Send a request with exactly these headers, besides host and length."""
        asked = http.client.HTTPConnection(self.host, timeout=30)
        asked.putrequest(method, f"{self.prefix}{path}", skip_accept_encoding=True)
        for name, value in headers:
            asked.putheader(name, value)
        if body and ("Transfer-Encoding", "chunked") not in headers:
            asked.putheader("Content-Length", str(len(body)))
        asked.endheaders(body or None)
        answer = asked.getresponse()
        result = Answer(answer.status, answer.headers, answer.read())
        asked.close()
        return result

    def do(self, path: str = "/messages", /, **what: Any) -> Answer:
        """Have the function do something."""
        return self.ask("POST", path, headers={"X-Do": json.dumps(what)})


class HttpApiSandbox(ServiceSandbox):
    """A sandbox with a function, its alias, and HTTP APIs in front of them."""

    def cleared(self) -> HttpApiSandbox:
        """Forget all earlier invocations and calls."""
        for file in self.place.glob("*.json"):
            file.unlink()
        self.permissions.forget_calls()
        self.clock.stopped_at = None
        return self

    def event(self) -> dict[str, Any]:
        """Give the one event that the function got."""
        (invocation,) = self.invocations()
        return dict(invocation["event"])

    def deploy(self, resources: Template, stack: str = "", verb: str = "create") -> dict[str, Any]:
        """Create or update a stack; return its description."""
        stack = stack or f"api-{uuid.uuid4().hex}"
        formation = self.client("cloudformation")
        result = {
            name: {"Value": value}
            for name, value in {
                "Id": {"Ref": "Api"},
                "Url": {"Fn::GetAtt": ["Api", "ApiEndpoint"]},
                "Group": {"Ref": "Log"},
            }.items()
        }
        call = getattr(formation, f"{verb}_stack")
        call(StackName=stack, TemplateBody=template(resources, Outputs=result))
        (described,) = formation.describe_stacks(StackName=stack)["Stacks"]
        return dict(described)

    def api(self, resources: Template | None = None, **parts: Any) -> Api:
        """Deploy an API."""
        stack = self.deploy(resources or api(**parts))
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack.get("StackStatusReason")
        result = outputs(stack)
        return Api(result["Id"], result["Url"], stack["StackName"])

    def user(self, *statements: Mapping[str, Any]) -> Credentials:
        """Create a user with an inline policy."""
        name = f"user-{uuid.uuid4().hex}"
        people = self.client("iam")
        people.create_user(UserName=name)
        if statements:
            people.put_user_policy(
                UserName=name, PolicyName="p", PolicyDocument=document(*statements)
            )
        key = people.create_access_key(UserName=name)["AccessKey"]
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, *statements: Mapping[str, Any], **settings: Any) -> tuple[str, Credentials]:
        """Create a role with an inline policy, and assume it."""
        name = f"role-{uuid.uuid4().hex}"
        roles = self.client("iam")
        made = roles.create_role(RoleName=name, AssumeRolePolicyDocument="{}", **settings)["Role"]
        if statements:
            roles.put_role_policy(
                RoleName=name, PolicyName="p", PolicyDocument=document(*statements)
            )
        return made["Arn"], assumed(made["Arn"])

    def log(self, api: Api) -> list[str]:
        """Give the lines of an API's access log."""
        (stack,) = self.client("cloudformation").describe_stacks(StackName=api.stack)["Stacks"]
        answer = self.client("logs").filter_log_events(logGroupName=outputs(stack)["Group"])
        return [event["message"] for event in answer["events"]]


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def invoking(resource: str, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    """Make a statement about calling an API."""
    return {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource, **more}


def api(
    *,
    routes: Mapping[str, str] | None = None,
    lets_in: str = "/*/*",
    function: str = ALIAS_ARN,
    let_in: str = ALIAS_ARN,
    integration: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Template:
    """Make the resources of an API from its routes: by key, the authorization of each."""
    own = {"ApiId": {"Ref": "Api"}}
    log_format = json.dumps(
        {
            "id": "$context.requestId",
            "status": "$context.status",
            "denial": "$context.authorizer.error",
        }
    )
    parts = {
        "Log": resource("Logs::LogGroup"),
        "Api": resource("ApiGatewayV2::Api", Name="api", ProtocolType="HTTP", **settings),
        "Integration": resource(
            "ApiGatewayV2::Integration",
            IntegrationType="AWS_PROXY",
            IntegrationUri=function,
            PayloadFormatVersion="2.0",
            **own,
            **(integration or {}),
        ),
        "Stage": resource(
            "ApiGatewayV2::Stage",
            **{
                **own,
                "StageName": "$default",
                "AutoDeploy": True,
                "AccessLogSettings": {
                    "DestinationArn": {"Fn::GetAtt": ["Log", "Arn"]},
                    "Format": log_format,
                },
                **(stage or {}),
            },
        ),
        "Permission": resource(
            "Lambda::Permission",
            Action="lambda:InvokeFunction",
            FunctionName=let_in,
            Principal="apigateway.amazonaws.com",
            SourceArn=joined(f"arn:aws:execute-api:{REGION}:{ACCOUNT}:", {"Ref": "Api"}, lets_in),
        ),
    }
    routes = routes or {"POST /messages": "AWS_IAM"}
    # As a stage with settings of single routes needs it.
    parts["Stage"]["DependsOn"] = [f"Route{number}" for number in range(len(routes))]
    for number, (key, authorization) in enumerate(routes.items()):
        parts[f"Route{number}"] = resource(
            "ApiGatewayV2::Route",
            **own,
            RouteKey=key,
            AuthorizationType=authorization,
            Target=joined("integrations/", {"Ref": "Integration"}),
        )
    return parts


def changed(resources: Template, name: str, /, **properties: Any) -> Template:
    """Change properties of a resource; None takes one out."""
    old = resources[name]
    merged = {**old["Properties"], **properties}
    kept = {key: value for key, value in merged.items() if value is not None}
    return {**resources, name: {**old, "Properties": kept}}


def create_function(sandbox: HttpApiSandbox) -> None:
    """Create the function `answers` and its alias `live`."""
    role, _ = sandbox.role({"Effect": "Allow", "Action": "mobiletargeting:*", "Resource": "*"})
    own = sandbox.client("lambda")
    own.create_function(
        FunctionName="answers",
        Role=role,
        Handler="app.handler",
        Runtime="python3.13",
        Code={"ZipFile": zipped(FUNCTION)},
        Environment={"Variables": {"PLACE": str(sandbox.place)}},
        Timeout=20,
    )
    own.publish_version(FunctionName="answers")
    own.create_alias(FunctionName="answers", Name="live", FunctionVersion="1")
