"""A real browser for the tests of this folder: Debian's chromium, driven by playwright."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from kros_pipeline_tests.support.debian import need_program
from kros_pipeline_tests.support.monday import Monday, monday_morning


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start chromium once for all tests."""
    program = need_program("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Open an empty page with cookies of its own, in a window of 1440 × 900."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def monday(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monday]:
    """Serve the UI over a small archive with a day that fails, once for all tests."""
    with monday_morning(tmp_path_factory.mktemp("dagster_home")) as served:
        yield served
