"""The picture of the formats for the README: ``python -m tests.browser.screenshot FILE``.

It sends the same notification in the API's own format and in the providers' own formats to
the sandbox, and takes a picture of the inbox.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sandbox.environment import isolate
from sandbox.inbox.pages import PAGE
from sandbox.pinpoint_only import running_pinpoint
from tests.support.browser import running_browser, show_as
from tests.support.invocation import PROJECT, Invocation

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZE = (1280, 1500)


def requests() -> list[dict[str, Any]]:
    """Give each rich example, and the same without the fields of its service."""
    made = []
    for name, options in (("rich-android", "gcm"), ("rich-ios", "apns")):
        rich = json.loads((EXAMPLES / f"{name}.json").read_text())
        rich["recipients"] = rich["recipients"][:1]
        made += [{key: value for key, value in rich.items() if key not in (options, "data")}, rich]
    return made


def main(picture: Path) -> None:
    """Write the picture as PNG."""
    isolate()
    with running_pinpoint() as server, tempfile.TemporaryDirectory() as profile:
        os.environ.update(
            APPLICATION_IDS=PROJECT,
            AWS_ACCESS_KEY_ID="sandbox",
            AWS_ENDPOINT_URL_PINPOINT=server.url,
            AWS_REGION="us-east-1",
            AWS_SECRET_ACCESS_KEY="sandbox",
            POWERTOOLS_LOG_LEVEL="WARNING",
            POWERTOOLS_METRICS_DISABLED="true",
        )
        from push_sender.handler import handler  # found once `sandbox` has set the path

        for request in requests():
            handler(request, Invocation(29))  # type: ignore[arg-type]  # what it uses of a context
        with running_browser(Path(profile)) as browser:
            show_as(browser, "light", SIZE)
            browser.get(f"{server.url}{PAGE}")
            time.sleep(2)  # the page loads its cards by itself
            browser.save_screenshot(str(picture))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
