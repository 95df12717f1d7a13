"""An adapter for programs that call SendMessages: the same call and answer, with Push Sender.

Copy it into the program, and use its client instead of boto3's::

    pinpoint = PushSender(boto3.client("lambda"), "push-sender:live")
    pinpoint.send_messages(ApplicationId=…, MessageRequest=…)["MessageResponse"]

It needs only the client that it gets. It refuses parts that it cannot translate, and names all of
them at once. docs/leaving-pinpoint.md has the same tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

_COMMON: Final = {
    "Title": "title",
    "Body": "message",
    "Action": "action",
    "Url": "url",
    "SilentPush": "silent",
    "Data": "data",
    "Substitutions": "substitutions",
}
_PUSH: Final = {**_COMMON, "Sound": "sound", "RawContent": "raw_content"}
_ICONS: Final = {
    "IconReference": "icon_reference",
    "ImageIconUrl": "image_icon_url",
    "SmallImageIconUrl": "small_image_icon_url",
    "ImageUrl": "image_url",
}
_AUTHENTICATION: Final = {"PreferredAuthenticationMethod": "preferred_authentication_method"}

_FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "GCMMessage": {
        **_PUSH,
        **_ICONS,
        **_AUTHENTICATION,
        "Priority": "priority",
        "TimeToLive": "ttl",
        "CollapseKey": "collapse_id",
        "RestrictedPackageName": "restricted_package_name",
    },
    "APNSMessage": {
        **_PUSH,
        **_AUTHENTICATION,
        "Priority": "priority",
        "TimeToLive": "ttl",
        "MediaUrl": "image_url",
        "CollapseId": "collapse_id",
        "Badge": "badge",
        "Category": "category",
        "ThreadId": "thread_id",
        "APNSPushType": "push_type",
    },
    "BaiduMessage": {**_PUSH, **_ICONS, "TimeToLive": "ttl"},
    "ADMMessage": {
        **_PUSH,
        **_ICONS,
        "ExpiresAfter": "ttl",
        "ConsolidationKey": "collapse_id",
        "MD5": "md5",
    },
    "DefaultPushNotificationMessage": _COMMON,
    "DefaultMessage": {"Body": "message", "Substitutions": "substitutions"},
}
"""For each message of SendMessages: its members, and their names in a request."""

_CHANNELS: Final = {
    "GCM": ("gcm", "GCMMessage"),
    "APNS": ("apns", "APNSMessage"),
    "APNS_SANDBOX": ("apns", "APNSMessage"),
    "APNS_VOIP": ("apns", "APNSMessage"),
    "APNS_VOIP_SANDBOX": ("apns", "APNSMessage"),
    "BAIDU": ("baidu", "BaiduMessage"),
    "ADM": ("adm", "ADMMessage"),
}
"""For each channel: its object in a request, and its message."""

_DEFAULTS: Final = ("DefaultPushNotificationMessage", "DefaultMessage")
_ADDRESS: Final = {
    "TitleOverride": "title",
    "BodyOverride": "message",
    "Substitutions": "substitutions",
    "Context": "context",
    "RawContent": "raw_content",
}
_CONVERTED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "Priority": lambda value: {"5": "normal", "10": "high"}.get(value, value),
    "ExpiresAfter": int,  # text in SendMessages
}

_ANSWERS: Final = {
    "accepted": ("SUCCESSFUL", 200),
    "opted_out": ("OPT_OUT", 400),
    "duplicate": ("DUPLICATE", 400),
    "transient": ("TEMPORARY_FAILURE", 503),
    "unsent": ("TEMPORARY_FAILURE", 503),
    "requeued": ("TEMPORARY_FAILURE", 503),
    "unknown": ("UNKNOWN_FAILURE", 500),
}
"""The status and code of an outcome, if the API itself answered nothing for the address."""
_OTHER_ANSWER: Final = ("PERMANENT_FAILURE", 400)


class NotTranslatableError(ValueError):
    """Push Sender has no field for some parts of a MessageRequest; the text names all of them."""


class RefusedError(Exception):
    """Push Sender refused the request or failed; the text is the function's error message."""


class PushSender:
    """A client with one method of boto3's Pinpoint client: ``send_messages``.

    Parameters
    ----------
    functions
        boto3's client for Lambda.
    function_name
        The function's name, with its alias.
    """

    def __init__(self, functions: Any, function_name: str) -> None:
        self._functions = functions
        self._function_name = function_name

    def send_messages(
        self,
        *,
        ApplicationId: str,  # noqa: N803  as boto3's
        MessageRequest: Mapping[str, Any],  # noqa: N803  as boto3's
    ) -> dict[str, Any]:
        """Send pushes, with the parameters and the answer of boto3's client.

        Raises
        ------
        NotTranslatableError
            If a part cannot be translated; nothing was sent.
        RefusedError
            If the function refuses the request or fails.
        """
        request = push_request(MessageRequest, ApplicationId)
        answer = self._functions.invoke(
            FunctionName=self._function_name, Payload=json.dumps(request).encode()
        )
        report = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise RefusedError(report.get("errorMessage", "The function failed."))
        request_id = answer["ResponseMetadata"]["RequestId"]
        return {
            "MessageResponse": message_response(report, request_id),
            "ResponseMetadata": answer["ResponseMetadata"],
        }


def push_request(message_request: Mapping[str, Any], application_id: str) -> dict[str, Any]:
    """Turn a MessageRequest into a request to Push Sender.

    Raises
    ------
    NotTranslatableError
        If a request has no field for some parts.
    """
    problems = _unknown(
        "MessageRequest",
        message_request,
        ("Addresses", "Context", "MessageConfiguration", "TraceId"),
    )
    configuration = message_request.get("MessageConfiguration", {})
    request: dict[str, Any] = {"application_id": application_id, "recipients": []}
    for address in message_request.get("Addresses", {}).values():
        problems += _unknown("an address", address, ("ChannelType", *_ADDRESS))
    for token, address in message_request.get("Addresses", {}).items():
        channel = address.get("ChannelType")
        if channel not in _CHANNELS:
            problems.append("an address whose ChannelType is no push channel")
            continue
        own = {_ADDRESS[name]: value for name, value in address.items() if name in _ADDRESS}
        request["recipients"].append({"token": token, "service": channel, **own})
        options, message = _CHANNELS[channel]
        if options not in request:
            # A channel's own message replaces the default message completely, as in SendMessages.
            name = next((each for each in (message, *_DEFAULTS) if each in configuration), None)
            content = configuration[name] if name else {}
            request[options] = _content(name or message, content, problems)
    for member, field in (("Context", "context"), ("TraceId", "trace_id")):
        if member in message_request:
            request[field] = message_request[member]
    if problems:
        raise NotTranslatableError("; ".join(dict.fromkeys(problems)))
    return request


def message_response(report: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """Turn a report into the MessageResponse of SendMessages.

    Parameters
    ----------
    report
        The function's report.
    request_id
        The id of the invocation.
    """
    return {
        "ApplicationId": report["application_id"],
        "RequestId": request_id,
        "Result": {result["token"]: _result(result) for result in report["results"]},
    }


def _result(result: Mapping[str, Any]) -> dict[str, Any]:
    status, code = _ANSWERS.get(result["outcome"], _OTHER_ANSWER)
    given = {
        "StatusMessage": result["status_message"],
        "MessageId": result["message_id"],
        "UpdatedToken": result["replacement_token"],
    }
    return {
        "DeliveryStatus": result["delivery_status"] or status,
        "StatusCode": result["status_code"] or code,
        **{name: value for name, value in given.items() if value is not None},
    }


def _content(name: str, message: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    fields = _FIELDS[name]
    problems += _unknown(name, message, fields)
    content = {}
    for member in fields.keys() & message.keys():
        convert = _CONVERTED.get(member, lambda value: value)
        try:
            content[fields[member]] = convert(message[member])
        except ValueError:
            problems.append(f"{member} of {name}, which is no number")
    return content


def _unknown(where: str, given: Mapping[str, Any], known: Any) -> list[str]:
    return [f"{name} of {where}" for name in given if name not in known]
