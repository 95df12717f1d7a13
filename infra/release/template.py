"""The template of a release: plain CloudFormation that needs no CDK and no bootstrapped account.

The CDK synthesizes the stack as for ``make deploy``. Then what a person must choose without the
CDK becomes a parameter: the place of the archive, and the settings that name a secret or an
address. All other settings are those of ``cdk.json``.

A code from parameters (``Code.from_cfn_parameters``) would not do: the CDK then gives each release
the same ``AWS::Lambda::Version``, and CloudFormation would not publish the new code.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import infra  # noqa: F401  first: it names the Node.js that the CDK runs in

# isort: split
import aws_cdk as cdk

from infra.bundle import Bundle
from infra.settings import Settings
from infra.stack import PushSenderStack

_CODE: Final[Mapping[str, str]] = {
    "CodeBucket": "A bucket in the region of the stack, with the archive of this release",
    "CodePrefix": "The folder of the archive in this bucket, with / at its end; empty: no folder",
}

_SECRETS: Final[Mapping[str, str]] = {
    "fcm_secret": "FcmSecret",
    "apns_secret": "ApnsSecret",
    "apns_sandbox_secret": "ApnsSandboxSecret",
    "apns_voip_secret": "ApnsVoipSecret",
    "apns_voip_sandbox_secret": "ApnsVoipSandboxSecret",
    "baidu_secret": "BaiduSecret",
    "adm_secret": "AdmSecret",
}
"""The settings that become parameters, and the names of these."""

_EMAIL: Final = "AlarmEmail"
_INVENTED_EMAIL: Final = "alarm-email@parameter.invalid"

# The setting's own rule: no character that could end the reference, or begin another.
_ALLOWED_NAME: Final = r"[A-Za-z0-9/_+=.@:-]*"

_REFERENCE: Final = re.compile(r"\{\{resolve:secretsmanager:parameter/(\w+):([^{}]*)\}\}")


def template_of(context: Mapping[str, Any], bundle: Bundle, archive: str) -> dict[str, Any]:
    """Synthesize the template of a release.

    Parameters
    ----------
    context
        The context of ``cdk.json``. A setting that it has is fixed, and is not a parameter.
    bundle
        The archive. Its digest is part of the name of the function's version.
    archive
        The name of the archive's file. It is no parameter: an update keeps the values of
        parameters, and would leave the code of the version before.

    Raises
    ------
    SettingsError
        If the settings are not usable.
    """
    context = {name: value for name, value in context.items() if value is not None}
    free = _parameters(context)
    with tempfile.TemporaryDirectory() as folder:
        app = cdk.App(
            analytics_reporting=False,
            context={**context, **free},
            outdir=folder,
            default_stack_synthesizer=cdk.DefaultStackSynthesizer(
                generate_bootstrap_version_rule=False
            ),
        )
        settings = Settings.from_context({**context, **free})
        stack = PushSenderStack(app, settings.name, settings=settings, bundle=bundle)
        app.synth()
        text = Path(folder, stack.template_file).read_text()
    template: dict[str, Any] = json.loads(text)
    names = {_SECRETS[setting]: setting for setting in free if setting in _SECRETS}
    _add_parameters(template, names, archive, has_email="alarm_email" in free)
    return template


def _parameters(context: Mapping[str, Any]) -> dict[str, str]:
    """Give an invented value to each setting that becomes a parameter."""
    free = {}
    for setting, name in _SECRETS.items():
        by_certificate = setting.replace("_secret", "_certificate_secret")
        if not {setting, by_certificate, "application_id"} & context.keys():
            free[setting] = f"parameter/{name}"
    if not {"alarm_email", "alarm_topic_arn"} & context.keys():
        free["alarm_email"] = _INVENTED_EMAIL
    return free


def _add_parameters(
    template: dict[str, Any], secrets: Mapping[str, str], archive: str, *, has_email: bool
) -> None:
    parameters: dict[str, Any] = {
        name: {"Type": "String", "Description": text} for name, text in _CODE.items()
    }
    parameters["CodePrefix"]["Default"] = ""
    for name, setting in secrets.items():
        parameters[name] = {
            "Type": "String",
            "Default": "",
            "AllowedPattern": _ALLOWED_NAME,
            "Description": f"{Settings.model_fields[setting].description}; empty: no channel",
        }
    if has_email:
        parameters[_EMAIL] = {
            "Type": "String",
            "Default": "",
            "Description": f"{Settings.model_fields['alarm_email'].description}; empty: nobody",
        }
    template["Parameters"] = parameters
    template["Conditions"] = {
        f"Has{name}": {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}
        for name in parameters
        if name not in _CODE
    }
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Function":
            key = {"Fn::Sub": f"${{CodePrefix}}{archive}"}
            properties["Code"] = {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": key}
        elif properties.get("Endpoint") == _INVENTED_EMAIL:
            properties["Endpoint"] = {"Ref": _EMAIL}
            resource["Condition"] = f"Has{_EMAIL}"
        for name, value in properties.items():
            found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if found:
                reference = f"{{{{resolve:secretsmanager:${{{found[1]}}}:{found[2]}}}}}"
                properties[name] = {"Fn::Sub": reference}
                resource["Condition"] = f"Has{found[1]}"
    if secrets:
        # Which channels there are is decided by the parameters, which the stack itself lists.
        del template["Outputs"]["Channels"]
