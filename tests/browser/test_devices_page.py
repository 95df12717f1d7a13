"""The pages of devices and of schedules in a real Chromium, and the device on a push's card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from sandbox.scheduler.targets import START_EXECUTION
from tests.support.browser import NARROW, WIDE, running_browser, show_as
from tests.support.registry import create_registry, register
from tests.support.schedules import DAY, ROLE, at
from tests.support.service_sandbox import ServiceSandbox, running_services
from tests.support.templates import ACCOUNT, REGION

PATIENCE = 30
HOSTILE = "<img src=x onerror='window.pwned = 1'><script>window.pwned = 1</script>{{version}}"
DEVICE: dict[str, Any] = {
    "device_id": "phone-1",
    "user_id": "u-1",
    "token": "token-of-the-first-phone",
    "service": "ADM",
    "language": "de",
    "tags": ["news", "offers"],
    "seen_at": "2026-11-20T10:00:00Z",
    "opted_out": True,
    "invalid": True,
}


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceSandbox]:
    with running_services(ServiceSandbox, tmp_path_factory.mktemp("place")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running: ServiceSandbox, tmp_path: Path) -> ServiceSandbox:
    """Give the sandbox with an empty account."""
    return _running.emptied(tmp_path)


@pytest.fixture(scope="module")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(_browser: Chrome, sandbox: ServiceSandbox) -> Iterator[Chrome]:
    """Open the page; afterwards nothing may have gone wrong in it."""
    show_as(_browser, "light")
    _browser.get(f"{sandbox.url}/sandbox/devices")
    yield _browser
    entries: list[dict[str, Any]] = _browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
    assert [entry for entry in entries if entry["level"] != "INFO"] == []


def text(browser: Chrome, selector: str) -> str:
    found: str = browser.find_element(By.CSS_SELECTOR, selector).text
    return found


def wait(browser: Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, PATIENCE, 0.05).until(lambda _: condition())


def cells(browser: Chrome) -> list[list[str]]:
    # In one go, for the rows may change between two questions.
    rows: list[list[str]] = browser.execute_script(
        "return [...document.querySelectorAll('tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return rows


def test_the_page_shows_each_device_while_it_is_open(
    browser: Chrome, sandbox: ServiceSandbox
) -> None:
    wait(browser, lambda: text(browser, "#status").startswith("No registry"))
    create_registry(sandbox)
    wait(browser, lambda: text(browser, "#status") == "0 devices")
    assert "No device yet" in text(browser, "#empty")
    register(sandbox, "project", DEVICE)
    wait(browser, lambda: text(browser, "#status") == "1 device")

    assert cells(browser) == [
        [
            *("phone-1", "u-1", "ADM", "de", "news, offers", "2026-11-20T10:00:00Z"),
            *("invalid, opted out", "token-of-the…", "project"),
        ]
    ]
    assert not browser.find_element(By.ID, "empty").is_displayed()
    register(sandbox, "project", {"device_id": "phone-2", "token": "t", "service": "GCM"})
    wait(browser, lambda: len(cells(browser)) == 2)
    assert cells(browser)[1] == ["phone-2", "", "GCM", "", "", "", "", "t", "project"]


def test_a_card_shows_the_device_of_its_token_and_the_pages_link_to_each_other(
    browser: Chrome, sandbox: ServiceSandbox
) -> None:
    project = sandbox.project()
    create_registry(sandbox)
    register(sandbox, project, {**DEVICE, "device_id": HOSTILE, "user_id": HOSTILE})
    sandbox.client("pinpoint").send_messages(
        ApplicationId=project,
        MessageRequest={
            "Addresses": {token: {"ChannelType": "ADM"} for token in (DEVICE["token"], "unknown")},
            "MessageConfiguration": {"ADMMessage": {"Title": "T", "Body": "B"}},
        },
    )
    browser.find_element(By.LINK_TEXT, "Inbox").click()

    wait(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#pushes .facts")) == 2)

    facts = [each.text for each in browser.find_elements(By.CSS_SELECTOR, "#pushes .facts")]
    (known,) = [each for each in facts if DEVICE["token"] in each]
    (unknown,) = [each for each in facts if "unknown" in each]
    assert f"Device: {HOSTILE}" in known.replace("\n", " ")
    assert f"User: {HOSTILE}" in known.replace("\n", " ")
    assert "Device:" not in unknown
    assert browser.execute_script("return window.pwned") is None
    browser.find_element(By.LINK_TEXT, "Devices of the registry").click()
    wait(browser, lambda: text(browser, "#status") == "1 device")


def test_the_content_of_a_device_is_text_and_never_runs_or_loads(
    browser: Chrome, sandbox: ServiceSandbox
) -> None:
    create_registry(sandbox)
    hostile = dict.fromkeys(("device_id", "user_id", "language", "seen_at"), HOSTILE)
    register(sandbox, HOSTILE, {**DEVICE, **hostile, "token": HOSTILE, "tags": [HOSTILE]})
    wait(browser, lambda: cells(browser))

    (row,) = cells(browser)
    assert [row[0], row[1], row[3], row[4], row[5], row[8]] == [HOSTILE] * 6
    assert browser.execute_script("return window.pwned") is None
    assert not browser.find_elements(By.CSS_SELECTOR, "tbody :is(script, img, a)")
    loaded: list[str] = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert loaded
    assert all(name.startswith(f"{sandbox.url}/sandbox/") for name in loaded)


def schedule(sandbox: ServiceSandbox, text: str) -> None:
    """Schedule a request with these texts, and a job of this name."""
    sandbox.client("iam").create_role(RoleName="scheduler", AssumeRolePolicyDocument="{}")
    sandbox.client("scheduler").create_schedule_group(Name="pushes")
    request = {"recipients": [{"user_id": "u"}] * 2, "title": text, "message": text}
    job = {"StateMachineArn": "arn", "Name": text, "Input": json.dumps({"request": request})}
    targets = {
        "first": (f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue", {"detail": request}),
        "second": (START_EXECUTION, job),
    }
    for day, (name, (arn, content)) in enumerate(targets.items(), 1):
        sandbox.client("scheduler").create_schedule(
            Name=name,
            GroupName="pushes",
            ScheduleExpression=at(day * DAY),
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arn, "RoleArn": ROLE, "Input": json.dumps(content)},
        )


def test_the_page_of_schedules_shows_each_while_it_is_open(
    browser: Chrome, sandbox: ServiceSandbox
) -> None:
    browser.find_element(By.LINK_TEXT, "Schedules").click()
    wait(browser, lambda: text(browser, "#status") == "0 schedules")
    assert "No schedule waits" in text(browser, "#empty")
    schedule(sandbox, HOSTILE)
    wait(browser, lambda: text(browser, "#status") == "2 schedules")

    assert [row[1:] for row in cells(browser)] == [
        ["2", HOSTILE, HOSTILE, "first", "pushes"],
        [f"the rows of the job {HOSTILE}", HOSTILE, HOSTILE, "second", "pushes"],
    ]
    assert browser.execute_script("return window.pwned") is None
    assert not browser.find_elements(By.CSS_SELECTOR, "tbody :is(script, img, a)")


@pytest.mark.parametrize(
    ("page", "theme", "size"),
    [
        ("devices", "light", WIDE),
        ("devices", "dark", NARROW),
        ("devices", "light", NARROW),
        ("devices", "dark", WIDE),
        ("schedules", "light", NARROW),
        ("schedules", "dark", WIDE),
    ],
)
def test_the_page_breaks_no_accessibility_rule_and_fits_the_screen(
    browser: Chrome,
    sandbox: ServiceSandbox,
    node_modules: Path,
    page: str,
    theme: str,
    size: tuple[int, int],
) -> None:
    show_as(browser, theme, size)
    create_registry(sandbox)
    register(sandbox, "p" * 100, {**DEVICE, "device_id": "d" * 128, "tags": ["t" * 64] * 5})
    schedule(sandbox, "t" * 200)
    if page == "schedules":
        browser.find_element(By.LINK_TEXT, "Schedules").click()
    wait(browser, lambda: cells(browser))

    browser.execute_script((node_modules / "axe-core" / "axe.min.js").read_text())
    found: dict[str, Any] = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(done, (fault) => done({fault}))"
    )
    assert [fault["id"] for fault in found["violations"]] == []
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
