"""Take the pictures of the README: `python -m kros_pipeline_tests.chromium.screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from kros_pipeline_tests.chromium.listen_picture import draw_call
from kros_pipeline_tests.support.debian import need_program
from kros_pipeline_tests.support.monday import ROOT, Monday, monday_morning

FOLDER = ROOT / "docs" / "images"
_MAX_BYTES = 150_000
_PATIENCE_MS = 60_000


def pages(monday: Monday) -> dict[str, tuple[str, str]]:
    """Return by name the path of each page, and a text that it shows once it is ready."""
    return {
        "archive": ("/assets/archive", "days left before upstream deletes the oldest day owed"),
        "days": ("/assets/reconciliation?view=partitions&partition=" + str(monday.bad_day), "failed, and did not"),
        "checks": ("/assets/archive?view=checks&checkDetail=no_recent_day_is_missing", "owed_days_schedule takes"),
    }


def main() -> int:
    """Write the pictures. Returns 1 if one is larger than a README should load."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    sizes = {}
    program = need_program("chromium", "chromium")
    with (
        tempfile.TemporaryDirectory(prefix="kros-screenshots-") as home,
        monday_morning(Path(home)) as monday,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.set_default_timeout(_PATIENCE_MS)
        for name, (path, text) in pages(monday).items():
            page.goto(monday.url + path)
            page.get_by_text(text).first.wait_for()
            page.wait_for_load_state("networkidle")
            sizes[name] = len(page.screenshot(path=FOLDER / f"{name}.png"))
        sizes["listen"] = draw_call(browser, FOLDER / "listen.png")
        browser.close()
    for name, size in sizes.items():
        print(f"docs/images/{name}.png: {size / 1000:.0f} KB")
    return int(max(sizes.values()) > _MAX_BYTES)


if __name__ == "__main__":
    sys.exit(main())
