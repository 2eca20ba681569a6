"""The reviewer's page in a real browser, over a local S3."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect

from kros_pipeline.sandbox import LocalS3
from kros_pipeline_tests.chromium.listen_calls import LAST, ordinary_calls, special_calls
from kros_pipeline_tests.support.listen_archive import ListenArchive
from kros_pipeline_tests.support.listen_page import open_store, serve_page

_MODELS_OF_NO_OTHER_CLOUD = {"AWS_EC2_METADATA_DISABLED": "true"}
pytestmark = pytest.mark.timeout(600)  # with the archive's making
expect.set_options(timeout=30_000)  # a shared machine may be slow


@dataclass
class Site:
    """The page, and the archive behind it."""

    address: str
    archive: ListenArchive

    def audit(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.archive.audit_lines() if line["event"] == event]


@pytest.fixture(scope="module")
def site(s3: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("listen")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**s3.environment, **_MODELS_OF_NO_OTHER_CLOUD, "NO_PROXY": "127.0.0.1"}.items():
            environment.setenv(name, value)
        archive = ListenArchive(
            folder, [*ordinary_calls(days=8, calls_per_day=8), *special_calls()], open_store(s3.bucket, "listen")
        )
        with serve_page(s3, "listen", folder) as address:
            yield Site(address, archive)


@pytest.fixture
def watched(page: Page) -> Iterator[Page]:
    """A page on which no script fails, and the policy refuses nothing."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)
    yield page
    assert problems == []


def wait_until(page: Page, expression: str) -> None:
    """Wait for something to be true; playwright's own wait needs `eval`, which the page's policy refuses."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def wait_for_page(page: Page, address: str | re.Pattern[str] | Callable[[str], bool]) -> None:
    """Wait for another page and its script: a key that is pressed before is lost."""
    page.wait_for_url(address, wait_until="load")


def test_a_new_reviewer_finds_plays_and_links_the_call(site: Site, watched: Page) -> None:
    """The calls of last week in which a caller asked for a refund and nobody said sorry."""
    page = watched
    ranges: list[tuple[int, str]] = []

    def note(response: Response) -> None:
        if response.url.endswith("/audio"):
            ranges.append((response.status, response.headers.get("content-range", "")))

    page.on("response", note)
    page.goto(site.address)
    expect(page).to_have_url(re.compile("/days"))
    page.get_by_role("link", name="Calls", exact=True).click()
    page.get_by_label("Condition 1: words").fill("refund")
    page.get_by_label("Condition 2: words").fill("sorry OR siento")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("words=refund.*words=sorry"))
    calls = page.locator("ol.calls > li")
    expect(page.locator("#results mark").first).to_be_visible()  # the address changes before the list does
    for text in calls.all_inner_texts():
        assert "refund" in text.lower()
    shown = page.locator("#results h2").inner_text()
    assert int(shown.split(" ")[0]) == len(wanted_calls(site))

    calls.first.locator("a.call").click()
    wait_for_page(page, re.compile("/call/"))
    expect(page.locator("mark.found").first).to_have_text(re.compile("refund", re.I))
    assert ranges == [], "nothing is loaded before somebody plays"
    before = len(site.audit("played"))
    page.keyboard.press("Escape")
    page.keyboard.press(" ")
    wait_until(page, "document.querySelector('#audio').currentTime > 0.3")
    for _ in range(100):  # the browser reports it later than it plays
        if not ranges:
            page.wait_for_timeout(50)
    assert ranges and all(status == 206 and asked.startswith("bytes ") for status, asked in ranges)
    assert len(site.audit("played")) == before + 1

    page.locator("#copy-link").click()
    expect(page.locator("#copied")).to_have_text(re.compile("link", re.I))
    link = page.url
    assert re.search(r"#t=\d+\.\d$", link)
    page.goto("about:blank")
    page.goto(link)
    at = page.evaluate("document.querySelector('#audio').currentTime")
    assert at == pytest.approx(float(link.split("#t=")[1]), abs=0.2)


def wanted_calls(site: Site) -> list[str]:
    """The same answer without the page: of the last seven days of the archive."""
    found = []
    for call in site.archive.calls:
        turns = call.text.lower().split("\n")
        asked = any("refund" in turn and not turn.startswith("[agent]") and "] agent:" not in turn for turn in turns)
        said = any("sorry" in turn or "siento" in turn for turn in turns)
        if 0 <= (LAST - call.day).days < 7 and asked and not said:
            found.append(call.call_id)
    return found


def test_times_of_the_text_are_sought_and_estimates_can_be_switched_off(site: Site, watched: Page) -> None:
    page = watched
    page.goto(f"{site.address}/call/{LAST}/call_timed")
    page.locator("#turn-1 .seek").click()
    wait_until(page, "document.querySelector('#audio').currentTime > 6")
    expect(page.locator("#turn-1")).to_have_class(re.compile("playing"))
    expect(page.locator(".seek.estimate")).to_have_count(0)
    page.goto(f"{site.address}/call/{LAST}/call_hostile")
    expect(page.locator(".seek.estimate").first).to_be_visible()
    page.get_by_label("estimated times").uncheck()
    expect(page.locator(".seek.estimate").first).to_be_hidden()


def test_next_and_back_follow_the_list_that_a_call_was_opened_from(site: Site, watched: Page) -> None:
    page = watched
    page.goto(f"{site.address}/calls?turn=with&by=caller&words=refund")
    addresses = [link.get_attribute("href") for link in page.locator("ol.calls a.call").all()[:3]]
    page.locator("ol.calls a.call").nth(1).click()
    expect(page.locator("#place")).to_have_text(re.compile(r"^2 of \d+ on this page$"))
    wait_for_page(page, f"{site.address}{addresses[1]}")
    page.keyboard.press("n")
    wait_for_page(page, f"{site.address}{addresses[2]}")
    for address in (addresses[1], addresses[0]):
        page.keyboard.press("p")
        wait_for_page(page, f"{site.address}{address}")
    expect(page.locator("#previous-call")).to_be_hidden()
    page.locator("#back").click()
    expect(page.get_by_label("Condition 1: words")).to_have_value("refund")
    page.goto(f"{site.address}/sample?seed=a")
    page.locator("ol.calls a.call").first.click()
    page.get_by_text("← Sample").click()
    expect(page).to_have_url(re.compile("/sample\\?seed=a"))


def test_a_week_of_the_calendar_is_a_list(site: Site, watched: Page) -> None:
    watched.goto(f"{site.address}/days")
    watched.get_by_title("Calls of 2025-01-13 – 2025-01-19").click()
    expect(watched.locator("#results h2")).to_contain_text("2025-01-13 – 2025-01-19")


def test_a_permalink_leads_to_the_turn(site: Site, watched: Page) -> None:
    watched.goto(f"{site.address}/call/{LAST}/call_timed#turn-2")
    expect(watched.locator("#turn-2")).to_have_class(re.compile("current"))
    assert watched.evaluate("document.querySelector('#audio').currentTime") == 14


def test_the_player_has_buttons_for_five_seconds_and_speed(site: Site, watched: Page) -> None:
    page = watched
    page.goto(f"{site.address}/call/{LAST}/call_timed")
    page.get_by_role("button", name="+5 s").click()
    page.get_by_role("button", name="+5 s").click()
    page.get_by_role("button", name="−5 s").click()
    assert page.evaluate("document.querySelector('#audio').currentTime") == 5
    page.get_by_label("Speed").select_option("1.5")
    assert page.evaluate("document.querySelector('#audio').playbackRate") == 1.5
    wait_until(page, "document.querySelector('#wave').dataset.ready === '800'")
    page.locator("#wave").click(position={"x": 10, "y": 20})
    assert 0 < page.evaluate("document.querySelector('#audio').currentTime") < 1


def test_everything_can_be_done_with_the_keyboard(site: Site, watched: Page) -> None:
    page = watched
    page.goto(f"{site.address}/calls")
    page.keyboard.press("/")
    page.keyboard.type("退款")
    page.keyboard.press("Enter")
    expect(page.locator("ol.calls mark").first).to_have_text("退款")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    wait_for_page(page, re.compile("/call/"))
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".turn.current")).to_have_attribute("id", re.compile(r"turn-\d"))
    page.keyboard.press("Enter")
    wait_until(page, "!document.querySelector('#audio').paused && document.querySelector('#audio').currentTime > 0")
    page.keyboard.press("ArrowRight")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    wait_until(page, "document.querySelector('#audio').paused")
    page.keyboard.press("]")
    assert page.evaluate("document.querySelector('#audio').playbackRate") == 1.25
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    first = page.url.partition("#")[0]
    page.keyboard.press("n")
    wait_for_page(page, lambda address: not address.startswith(first))
    page.keyboard.press("p")
    wait_for_page(page, lambda address: address.startswith(first))


def test_a_review_is_saved_with_the_keyboard_and_shown(site: Site, watched: Page) -> None:
    page = watched
    page.goto(f"{site.address}/call/{LAST}/call_timed")
    page.keyboard.press("r")
    page.keyboard.press("Space")
    page.get_by_label("Comment").fill("Said nothing of <b>the</b> recording.")
    page.get_by_role("button", name="Save the review").click()
    expect(page.locator(".reviews")).to_contain_text("Said nothing of <b>the</b> recording.")
    keys = [entry.key for entry in site.archive.store.list(f"reviews/dt={LAST}/call_timed/")]
    assert len(keys) == 1
    value = json.loads(site.archive.store.read(keys[0]) or b"")
    assert value["verdict"] == "good" and value["comment"].startswith("Said nothing")


def test_filters_and_days_change_the_address(site: Site, watched: Page) -> None:
    page = watched
    page.goto(f"{site.address}/days")
    page.get_by_role("link", name=re.compile(f"^{LAST.day} ")).click()
    expect(page.locator("#results h2")).to_contain_text(str(LAST))
    page.get_by_label("Direction").select_option("outbound")
    expect(page).to_have_url(re.compile("direction=outbound"))
    for text in page.locator(".call .direction").all_inner_texts():
        assert text == "outbound"
    page.reload()
    expect(page.get_by_label("Direction")).to_have_value("outbound")


def test_a_hostile_transcript_is_text(site: Site, watched: Page) -> None:
    for path in (f"/call/{LAST}/call_hostile", "/calls?turn=with&by=caller&words=svg"):
        watched.goto(site.address + path)
        expect(watched.locator("main")).to_contain_text("onload=document.title")
        assert "owned" not in watched.title()
        assert watched.locator("main img, main svg, main script").count() == 0


def test_a_recording_that_is_missing_says_so(site: Site, watched: Page) -> None:
    watched.goto(f"{site.address}/call/{LAST}/call_missing")
    watched.keyboard.press(" ")
    expect(watched.locator("#audio-problem")).to_contain_text("verify_archive")
    watched.goto(f"{site.address}/call/{LAST}/call_waiting")
    expect(watched.locator("#player")).to_contain_text("tries again by itself")
    assert watched.locator("audio").count() == 0


def test_the_hash_is_checked_now(site: Site, watched: Page) -> None:
    watched.goto(f"{site.address}/call/{LAST}/call_timed")
    watched.get_by_role("button", name="Check now").click()
    expect(watched.locator("#hash-result")).to_contain_text("same")


def test_an_erased_call_is_gone_from_every_address(site: Site, watched: Page) -> None:
    page = watched
    page.goto(f"{site.address}/call/{LAST}/call_erased")
    expect(page.locator("main")).to_contain_text("purple elephant")
    site.archive.erase("call_erased")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("alert").filter(has_text="This call was erased")).to_be_visible()
    for path in ("", "/audio", "/peaks"):
        answer = page.goto(f"{site.address}/call/{LAST}/call_erased{path}")
        assert answer is not None and answer.status == 410, path
    page.goto(f"{site.address}/calls?turn=with&words=elephant")
    expect(page.locator("#results")).to_contain_text("No call is found")
    with urllib.request.urlopen(f"{site.address}/calls.csv?from={LAST}&to={LAST}") as exported:
        assert "call_erased" not in exported.read().decode()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_has_a_fault_of_accessibility_or_scrolls_sideways(
    site: Site, chromium: Browser, theme: Any, width: int
) -> None:
    context = chromium.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    page = context.new_page()
    paths = [
        "/days",
        "/calls?turn=with&by=caller&words=refund",
        "/calls?from=2020-01-01&to=2020-01-02",
        f"/call/{LAST}/call_timed?turn=with&words=refund",
        f"/call/{LAST}/call_waiting",
        "/call/2025-01-19/none",
        "/sample?seed=a",
    ]
    for path in paths:
        page.goto(site.address + path)
        results = Axe().run(page)
        assert results.violations_count == 0, f"{path}: {results.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


def test_behind_a_proxy_who_may_only_read_hears_nothing(
    site: Site, s3: LocalS3, chromium: Browser, tmp_path: Path
) -> None:
    settings = {"KROS_BROWSE_PROXIES": "127.0.0.1", "KROS_BROWSE_USERS": "bola=read-without-numbers"}
    with serve_page(s3, "listen", tmp_path, **settings) as address:
        for user, status in (("bola", 200), ("chi", 403)):
            context = chromium.new_context(extra_http_headers={"X-Forwarded-User": user})
            page = context.new_page()
            answer = page.goto(f"{address}/call/{LAST}/call_timed")
            assert answer is not None and answer.status == status
            if status == 200:
                expect(page.locator("#player")).to_contain_text("does not hear recordings")
                assert page.locator("audio, .seek, #wave").count() == 0
                assert "+2348012345678" not in page.content()
                heard = page.goto(f"{address}/call/{LAST}/call_timed/audio")
                assert heard is not None and heard.status == 403
            context.close()
        bare = chromium.new_context()
        answer = bare.new_page().goto(f"{address}/days")
        assert answer is not None and answer.status == 403
        bare.close()
