"""The inbox's page in a real Chromium: what a person sees, types, presses and hears."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from sandbox.pinpoint import pushes as inbox
from sandbox.pinpoint.devices import CHANNELS, WELL_KNOWN
from sandbox.pinpoint_only import running_pinpoint
from tests.support.browser import NARROW, WIDE, running_browser, show_as

PATIENCE = 30
POLL_SECONDS = 0.05
CARDS = 200  # what the page holds at most

HOSTILE = (
    "<script>window.pwned = 1</script>"
    "<img src=x onerror='window.pwned = 1'><svg onload='window.pwned = 1'>"
    "\"'><a href='javascript:window.pwned = 1'>tap</a>{{constructor}}</template>"
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_pinpoint() as server:
        yield server.url


@pytest.fixture(scope="module")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(_browser: Chrome, url: str) -> Iterator[Page]:
    """Open the page on an empty inbox; afterwards nothing may have gone wrong in it."""
    page = Page(_browser, url)
    page.clear_behind_its_back()
    show_as(_browser, "light")
    page.open()
    yield page
    assert [entry for entry in page.log() if entry["level"] != "INFO"] == []


@pytest.fixture(scope="module")
def axe(node_modules: Path) -> str:
    """Give the library that knows the rules."""
    return (node_modules / "axe-core" / "axe.min.js").read_text()


class Page:
    """What a person does with the page."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url
        self.pinpoint: Any = boto3.client(
            "pinpoint",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
        )

    def open(self) -> None:
        self.browser.get(f"{self.url}/sandbox/")
        self.wait(lambda: self.text("#status").startswith("0 pushes"))

    def clear_behind_its_back(self) -> None:
        asked = Request(f"{self.url}/sandbox/messages", method="DELETE")  # noqa: S310  loopback
        urlopen(asked).close()  # noqa: S310  loopback

    def log(self) -> list[dict[str, Any]]:
        """Take what the browser has complained of since the last time."""
        entries: list[dict[str, Any]] = self.browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
        return entries

    def send(self, token: str, channel: str = "GCM", **message: Any) -> None:
        self.send_many([token], channel, **message)

    def send_many(self, tokens: list[str], channel: str = "GCM", **message: Any) -> None:
        self.pinpoint.send_messages(
            ApplicationId="any",
            MessageRequest={
                "Addresses": {token: {"ChannelType": channel} for token in tokens},
                "MessageConfiguration": {CHANNELS[channel].message: message},
            },
        )

    def find(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        found: str = self.find(selector).text
        return found

    def titles(self) -> list[str]:
        # In one go, for the list may change between two questions.
        titles: list[str] = self.browser.execute_script(
            "return [...document.querySelectorAll('#pushes .title')].map((e) => e.textContent)"
        )
        return titles

    def wait(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self.browser, PATIENCE, POLL_SECONDS).until(lambda _: condition())

    def shows(self, *titles: str) -> None:
        """Wait until these are the cards, from the top."""
        self.wait(lambda: self.titles() == list(titles))


def test_a_push_that_is_sent_while_the_page_is_open_appears_at_the_top(page: Page) -> None:
    page.send("any-phone", Title="First", Body="one")
    page.shows("First")
    page.send("any-phone", Title="Second", Body="two")
    page.shows("Second", "First")
    assert page.text("#status").startswith("2 pushes")


def test_a_card_shows_the_notification_and_its_outcome(page: Page) -> None:
    page.send(
        "sandbox-unregistered",
        "APNS",
        Title="Your parcel",
        Body="It arrives today.",
        MediaUrl="https://images.example.com/parcel.png",
        Badge=3,
        Sound="default",
        Action="URL",
        Url="https://www.example.com/17",
    )
    page.shows("Your parcel")
    phone = page.text(".phone")
    for part in (
        "iOS · APNs",
        "Not delivered:",
        "It arrives today.",
        "Image, not loaded: https://images.example.com/parcel.png",
        "Badge: 3",
        "Sound: default",
        "Action: URL",
        "Link: https://www.example.com/17",
    ):
        assert part in phone
    assert page.text(".named") == "dead_token"
    assert page.text(".outcome") == "PERMANENT_FAILURE 410 · Unregistered"
    assert "sandbox-unregistered" in page.text(".facts")
    assert not page.browser.find_elements(By.CSS_SELECTOR, "#pushes :is(img, a)")


def test_a_silent_push_is_marked(page: Page) -> None:
    page.send("quiet", "APNS", SilentPush=True, Data={"sync": "orders"})
    page.shows("Push to quiet")
    assert "Silent: the phone shows nothing." in page.text(".phone")
    assert "Data: sync: orders" in page.text(".phone")


def test_raw_content_of_both_platforms_is_shown(page: Page) -> None:
    page.send("a", "APNS", RawContent=json.dumps({"aps": {"alert": {"title": "An iPhone"}}}))
    message = {"notification": {"title": "An Android phone"}}
    page.send("b", RawContent=json.dumps({"fcmV1Message": {"message": message}}))
    page.send("c", RawContent=json.dumps({"notification": {"title": "A legacy one"}}))
    page.shows("A legacy one", "An Android phone", "An iPhone")


def test_the_request_and_the_answer_open_with_the_keyboard(page: Page) -> None:
    page.send_many(["mine", "another"], Title="T", Body="B")
    page.wait(lambda: len(page.titles()) == 2)
    summary = page.find("#pushes li:last-child summary")
    page.browser.execute_script("arguments[0].focus()", summary)
    ActionChains(page.browser).send_keys(Keys.ENTER).perform()
    page.wait(lambda: page.text("#pushes li:last-child .request"))

    assert page.text("#pushes li:last-child details h4") == "POST /v1/apps/any/messages"
    assert json.loads(page.text("#pushes li:last-child .request")) == {
        "Addresses": {"mine": {"ChannelType": "GCM"}},
        "MessageConfiguration": {"GCMMessage": {"Title": "T", "Body": "B"}},
    }
    assert "1 other address" in page.text("#pushes li:last-child .others")
    answer = json.loads(page.text("#pushes li:last-child .answer"))["MessageResponse"]
    assert answer["Result"]["mine"]["DeliveryStatus"] == "SUCCESSFUL"


def test_the_search_covers_token_text_and_service_and_stays_live(page: Page) -> None:
    page.send("ann-1", "GCM", Title="Parcel", Body="x")
    page.send("bob-1", "APNS", Title="Invoice", Body="for the parcel")
    page.send("carl-1", "GCM", Title="News", Body="x")
    page.shows("News", "Invoice", "Parcel")

    page.find("#text").send_keys("PARCEL")
    page.shows("Invoice", "Parcel")
    assert "text=PARCEL" in page.find("#json").get_attribute("href")
    Select(page.find("#service")).select_by_visible_text("GCM")
    page.shows("Parcel")
    page.send("dora-1", "GCM", Title="Another parcel", Body="x")
    page.send("emil-1", "GCM", Title="Not this one", Body="x")
    page.shows("Another parcel", "Parcel")

    page.find("#text").clear()
    page.find("#text").send_keys("carl-")
    page.shows("News")
    page.find("#text").send_keys("nobody")
    page.shows()
    page.wait(lambda: page.text("#nothing") == "No push matches the search.")


def test_clearing_empties_page_and_sandbox_and_new_pushes_appear(page: Page) -> None:
    page.send("any-phone", Title="Old", Body="x")
    page.shows("Old")
    page.find("#clear").click()
    assert page.text("#question") == "Clear all pushes, calls and counts?"
    page.find("#no").click()
    page.shows("Old")
    page.find("#clear").click()
    page.find("#yes").click()
    page.shows()
    page.wait(lambda: "No push yet" in page.text("#empty"))
    assert f"AWS_ENDPOINT_URL_PINPOINT={page.url}" in page.text("#how")
    page.send("any-phone", Title="New", Body="x")
    page.shows("New")
    assert not page.find("#empty").is_displayed()


def test_pushes_cleared_elsewhere_disappear_from_the_page(page: Page) -> None:
    page.send("any-phone", Title="Old", Body="x")
    page.shows("Old")
    page.clear_behind_its_back()
    page.send("any-phone", Title="New", Body="x")
    page.shows("New")


def test_a_button_sends_to_its_token_and_shows_the_answer(page: Page) -> None:
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#tokens button")) == len(WELL_KNOWN)
    Select(page.find("#sender")).select_by_visible_text("APNS")
    page.browser.find_element(By.XPATH, "//button[.='sandbox-bad-token']").click()
    page.shows("sandbox-bad-token")
    assert page.text(".outcome") == "PERMANENT_FAILURE 410 · BadDeviceToken"
    page.wait(lambda: page.text("#sent") == "sandbox-bad-token, APNS: 200 PERMANENT_FAILURE")


@pytest.mark.parametrize(
    ("token", "code", "outcome"),
    [
        ("sandbox-call-403", "403 ForbiddenException", "misconfigured"),
        ("sandbox-call-429", "429 TooManyRequestsException", "transient"),
        ("sandbox-call-500", "500 InternalServerErrorException", "transient"),
    ],
)
def test_a_buttons_refused_call_is_shown_as_refused(
    page: Page, token: str, code: str, outcome: str
) -> None:
    button = page.browser.find_element(By.XPATH, f"//button[.='{token}']")
    button.click()
    page.wait(lambda: code in page.text("#sent"))
    beside = page.browser.execute_script("return arguments[0].nextElementSibling.id", button)
    assert beside == "sent"

    page.wait(lambda: page.browser.find_elements(By.CSS_SELECTOR, "#pushes .refused"))
    assert page.titles() == []
    assert page.text("#pushes .refusal") == code
    assert "No device was sent anything" in page.text("#pushes .refused .text")
    assert page.text("#pushes .named") == outcome
    assert token in page.text("#pushes .facts")
    assert not page.find("#empty").is_displayed()
    page.send("fine", Title="Then this", Body="x")
    page.shows("Then this")
    assert page.text("#pushes li:last-child .refusal") == code


def test_a_push_can_be_sent_to_any_token_with_any_text(page: Page) -> None:
    Select(page.find("#sender")).select_by_visible_text("APNS")
    page.find("#to").send_keys("my-own-phone")
    page.find("#what").send_keys("Hello, phone")
    page.find("#what").send_keys(Keys.ENTER)

    page.shows("Sent from the inbox")
    assert page.text("#pushes .text") == "Hello, phone"
    assert "my-own-phone" in page.text(".facts")
    page.wait(lambda: page.text("#sent") == "my-own-phone, APNS: 200 SUCCESSFUL")


def test_filters_select_by_outcome_and_entry_point_and_limit_clearing(page: Page) -> None:
    page.send("fine", Title="Arrived", Body="x")
    page.send("sandbox-unregistered", Title="Not arrived", Body="x")
    page.shows("Not arrived", "Arrived")

    Select(page.find("#outcome")).select_by_visible_text("dead_token")
    page.shows("Not arrived")
    assert "outcome=dead_token" in page.find("#json").get_attribute("href")
    page.find("#clear").click()
    assert (
        page.text("#question")
        == "Clear the pushes that match outcome “dead_token”? The others stay."
    )
    page.find("#yes").click()
    page.shows()

    Select(page.find("#outcome")).select_by_visible_text("all")
    page.shows("Arrived")
    Select(page.find("#entry_point")).select_by_visible_text("queue")
    page.shows()
    Select(page.find("#entry_point")).select_by_visible_text("none")
    page.shows("Arrived")


def test_pushes_cleared_elsewhere_in_the_middle_of_the_list_disappear(page: Page) -> None:
    for title in ("First", "Second", "Third"):
        page.send(title.lower(), Title=title, Body="x")
    page.shows("Third", "Second", "First")
    asked = Request(f"{page.url}/sandbox/messages?text=second", method="DELETE")  # noqa: S310  loopback
    urlopen(asked).close()  # noqa: S310  loopback
    page.shows("Third", "First")


def test_a_card_shows_the_platforms_further_fields(page: Page) -> None:
    aps = {"alert": {"title": "T", "subtitle": "Below it"}, "interruption-level": "time-sensitive"}
    page.send("a", "APNS", RawContent=json.dumps({"aps": aps}))
    page.shows("T")
    assert page.text(".subtitle") == "Below it"
    assert "Interruption level: time-sensitive" in page.text(".extras")
    android = {"channel_id": "orders", "color": "#ff8800"}
    message = {"notification": {"title": "U"}, "android": {"notification": android}}
    page.send("b", RawContent=json.dumps({"fcmV1Message": {"message": message}}))
    page.shows("U", "T")
    assert "Channel: orders" in page.text(".extras")
    assert "Colour: #ff8800" in page.text(".extras")


def test_the_content_of_a_push_is_text_and_never_runs_or_loads(page: Page) -> None:
    page.send(HOSTILE, "APNS", Title=HOSTILE, Body=HOSTILE, MediaUrl=HOSTILE, Url=HOSTILE)
    raw = {"aps": {"alert": {"title": HOSTILE, "subtitle": HOSTILE}}, HOSTILE: HOSTILE}
    page.send("raw", "APNS", RawContent=json.dumps(raw))
    page.shows(HOSTILE, HOSTILE)
    for summary in page.browser.find_elements(By.CSS_SELECTOR, "#pushes summary"):
        summary.click()
    last = "#pushes li:last-child .request"
    page.wait(lambda: page.text(last))
    assert HOSTILE in json.loads(page.text(last))["Addresses"]

    assert page.browser.execute_script("return window.pwned") is None
    assert not page.browser.find_elements(By.CSS_SELECTOR, "#pushes :is(script, img, svg, a)")
    loaded: list[str] = page.browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert loaded
    assert all(name.startswith(f"{page.url}/sandbox/") for name in loaded)


def test_the_security_policy_stops_injected_markup(page: Page) -> None:
    """So that one mistake in the page does not yet let a push run or load something."""
    stopped: list[bool] = page.browser.execute_async_script("""
        const done = arguments[0];
        const stopped = [
          () => { document.body.innerHTML += "<b>markup</b>"; },
          () => document.body.setAttribute("onclick", "window.pwned = 1"),
        ].map((attempt) => { try { attempt(); return false; } catch { return true; } });
        document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
          if (effectiveDirective === "img-src") done([...stopped, true]);
        });
        new Image().src = "http://127.0.0.1:1/remote.png";
    """)
    assert stopped == [True, True, True]
    page.log()  # the policy's own complaints


def test_a_flood_keeps_page_and_sandbox_limited_and_both_show_it(page: Page) -> None:
    for start in range(0, inbox.KEPT + 100, 100):
        page.send_many([f"t{number}" for number in range(start, start + 100)], Body="x")
    page.wait(lambda: page.titles()[:1] == [f"Push to t{inbox.KEPT + 99}"])
    page.wait(lambda: page.text("#status").startswith("10,000 pushes · 100 older dropped"))
    assert len(page.titles()) == CARDS
    assert f"newest {CARDS}" in page.text("#more")
    page.find("#text").send_keys("t3000")
    page.shows("Push to t3000")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_breaks_no_accessibility_rule(
    page: Page, axe: str, theme: str, size: tuple[int, int]
) -> None:
    show_as(page.browser, theme, size)
    page.browser.refresh()

    def faults() -> list[str]:
        page.browser.execute_script(axe)
        found: dict[str, Any] = page.browser.execute_async_script(
            "const done = arguments[0]; axe.run().then(done, (fault) => done({fault}))"
        )
        return [
            f"{fault['id']}: {node['html']}"
            for fault in found["violations"]
            for node in fault["nodes"]
        ]

    page.wait(lambda: page.find("#empty").is_displayed())
    assert faults() == []

    page.send("fine", "GCM", Title="T", Body="B", Action="URL", Url="https://www.example.com")
    page.send("quiet", "APNS", SilentPush=True, Data={"k": "v"})
    page.send("adm", "ADM", Body="B")
    page.send("sandbox-unregistered", "APNS", Title="T", Body="B")
    page.send("sandbox-throttled", "APNS", Title="T", Body="B")
    page.wait(lambda: len(page.titles()) == 5)
    page.browser.execute_script("document.getElementById('sending').open = true")
    page.browser.find_element(By.XPATH, "//button[.='sandbox-call-403']").click()
    page.wait(lambda: page.browser.find_elements(By.CSS_SELECTOR, "#pushes .refused"))
    for summary in page.browser.find_elements(By.CSS_SELECTOR, "#pushes summary"):
        page.browser.execute_script("arguments[0].parentElement.open = true", summary)
    assert faults() == []

    page.find("#clear").click()
    assert faults() == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_is_no_wider_than_the_screen(page: Page, size: tuple[int, int]) -> None:
    show_as(page.browser, "light", size)
    page.send("t" * 300, Title="W" * 300, Body="W" * 300, Url="https://" + "w" * 300)
    page.shows("W" * 300)
    page.find("#pushes summary").click()
    assert page.browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )


def test_the_themes_differ(page: Page) -> None:
    def background() -> object:
        return page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = background()
    show_as(page.browser, "dark")
    assert background() != light
