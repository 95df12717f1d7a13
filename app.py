"""The CDK app: one stack, with the settings in cdk.json."""

import signal
import sys

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
app.synth()
