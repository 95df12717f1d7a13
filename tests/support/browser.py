"""A real Chromium for the tests of the inbox's page, driven by its own driver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium's own sandbox refuses root, who runs tests in a container
    "--disable-gpu",
    "--no-first-run",
    # The browser only needs loopback.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = (1280, 900)
NARROW = (375, 800)


@contextmanager
def running_browser(profile: Path) -> Iterator[Chrome]:
    """Run a browser inside a ``with`` block; skip the test if none is installed.

    Parameters
    ----------
    profile
        An empty folder for the browser's profile.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip(
            "the inbox's page is tested in Chromium, and there is none here; on Debian and "
            "Ubuntu: apt-get install chromium chromium-driver"
        )
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    try:
        show_as(browser, "light")
        yield browser
    finally:
        browser.quit()


def show_as(browser: Chrome, theme: str, size: tuple[int, int] = WIDE) -> None:
    """Emulate a theme of the system and a size of the screen."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
