"""Monday morning in a real browser: each of seven questions is answered two clicks from the catalog, at most."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from kros_pipeline.browser.call_pages import evidence_url
from kros_pipeline_tests.support.monday import Monday

pytestmark = pytest.mark.timeout(600)  # the first test has the archive made, and the UI started

_PATIENCE_MS = 60_000  # a page of the UI loads 10 MB of scripts: long on a busy machine


class Operator:
    """Somebody who opens the catalog, and clicks at most twice."""

    def __init__(self, page: Page, monday: Monday) -> None:
        self._page, self._clicks = page, 0
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{monday.url}/assets")

    def click(self, asset: str) -> Operator:
        self._clicks += 1
        assert self._clicks <= 2, "an answer is two clicks away, at most"
        self._page.locator(f'a[href^="/assets/{asset}"]').first.click()
        return self

    def reads(self, label: str) -> str:
        """Read the value of a number in the table of the asset's page."""
        row = self._page.locator("tr", has=self._page.get_by_text(label, exact=True)).first
        return row.locator("td").last.inner_text().strip()

    def sees(self, text: str | re.Pattern[str]) -> None:
        expect(self._page.get_by_text(text).first).to_be_visible(timeout=_PATIENCE_MS)


@pytest.fixture
def operator(page: Page, monday: Monday) -> Operator:
    return Operator(page, monday)


def test_is_everything_safe(operator: Operator) -> None:
    operator.click("archive")
    assert (operator.reads("days incomplete"), operator.reads("days missing")) == ("1", "2")
    assert int(operator.reads("recordings archived")) > 20 and operator.reads("recordings lost") == "0"


def test_what_is_owed_and_until_when(operator: Operator) -> None:
    operator.click("archive")
    assert int(operator.reads("days owed")) >= 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", operator.reads("oldest day owed"))
    assert 1 <= int(operator.reads("days left before upstream deletes the oldest day owed")) <= 7


def test_how_much_of_the_quota_is_used_today(operator: Operator) -> None:
    operator.click("archive")
    assert int(operator.reads("API requests today")) > 20
    assert operator.reads("API requests that the plan allows a day") == "50000"


def test_what_was_moved_today(operator: Operator) -> None:
    operator.click("archive")
    assert operator.reads("recordings archived today") == operator.reads("recordings archived")
    assert float(operator.reads("audio archived today (GB)")) > 0 and float(operator.reads("audio (minutes)")) > 0


def test_what_does_it_cost(operator: Operator) -> None:
    operator.click("archive")
    assert float(operator.reads("S3 cost of the month (US dollars, estimate)")) >= 0
    assert "us-east-1" in operator.reads("S3 cost is estimated by")


def test_which_days_fail(operator: Operator, monday: Monday) -> None:
    operator.click("archive")
    assert f"{monday.bad_day} is incomplete" in operator.reads("which days, and why")


def test_why_does_a_day_fail(operator: Operator, monday: Monday) -> None:
    operator.click("archive")
    why = operator.reads("which days, and why")
    assert re.search(r"[23] × not a whole MP3: an HTML or JSON answer", why)
    assert "2 × the storage does not accept the URL (status 403)" in why


def test_a_waiting_day_is_a_warning_that_says_until_when(page: Page, monday: Monday) -> None:
    page.goto(f"{monday.url}/assets/reconciliation?view=checks&checkDetail=every_recording_is_safe")
    expect(page.get_by_text(re.compile(r"are waited for until \d{4}-")).first).to_be_visible(timeout=_PATIENCE_MS)
    expect(page.get_by_text("owed_days_schedule takes the day up by itself").first).to_be_visible()


def test_the_check_of_refused_extensions_names_the_days(page: Page, monday: Monday) -> None:
    page.goto(f"{monday.url}/assets/archive?view=checks&checkDetail=no_extension_is_refused")
    expect(page.get_by_text(re.compile(r"\d+ extensions of the retention were refused")).first).to_be_visible(
        timeout=_PATIENCE_MS
    )


def test_the_events_of_a_failed_day_have_its_reasons(page: Page, monday: Monday) -> None:
    page.goto(f"{monday.url}/assets/reconciliation?view=events&filter=Observations")
    page.get_by_text(str(monday.bad_day)).first.click(timeout=_PATIENCE_MS)
    expect(page.get_by_text("what happens next").first).to_be_visible(timeout=_PATIENCE_MS)


def test_the_link_to_the_evidence_fills_in_the_launchpad(page: Page, monday: Monday) -> None:
    page.goto(evidence_url(monday.url, "weird id: é & #1"))
    expect(page.get_by_text("weird id: é & #1").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("No errors").first).to_be_visible(timeout=60_000)
