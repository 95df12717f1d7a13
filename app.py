"""The CDK app: one stack, with the settings in cdk.json."""

import json
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, without a traceback

import infra  # noqa: F401  first: it names the Node.js that the CDK runs in

# isort: split
import aws_cdk as cdk

from infra.bundle import BundleError
from infra.settings import Settings, SettingsError
from infra.stack import PushSenderStack

app = cdk.App(analytics_reporting=False)
try:
    settings = Settings.from_context(app.node.get_all_context())
    PushSenderStack(app, settings.name, settings=settings)
except (SettingsError, BundleError) as error:
    sys.exit(f"{error}")
manifest = Path(app.synth().directory) / "manifest.json"
# The command line counts in this report the flags for services that the stack does not have, and
# has no option against it: https://github.com/aws/aws-cdk-cli/issues/913
assembly = json.loads(manifest.read_text())
assembly["artifacts"].pop("aws-cdk-lib/feature-flag-report", None)
manifest.write_text(json.dumps(assembly))
