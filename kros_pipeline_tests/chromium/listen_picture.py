"""Draw the reviewer's page: `python -m kros_pipeline_tests.chromium.listen_picture FOLDER` draws all of it.

The calls are those of the browser's tests. Every page is drawn in both themes, wide and narrow, to be looked at.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from kros_pipeline.sandbox import LocalS3
from kros_pipeline_tests.chromium.listen_calls import LAST, ordinary_calls, special_calls
from kros_pipeline_tests.support.debian import need_program
from kros_pipeline_tests.support.listen_archive import ListenArchive
from kros_pipeline_tests.support.listen_page import open_store, serve_page

_SEARCH = "turn=with&by=caller&words=refund&turn=without&by=anyone&words=sorry+OR+siento"
_CALL = f"/call/{LAST}/call_0000?{_SEARCH}#turn-1"
_PAGES = {
    "days": "/days",
    "calls": f"/calls?{_SEARCH}",
    "call": _CALL,
    "timed": f"/call/{LAST}/call_timed",
    "waiting": f"/call/{LAST}/call_waiting",
    "empty": "/calls?turn=with&words=zebra",
    "sample": "/sample?seed=week-3",
    "missing": f"/call/{LAST}/nothing",
}


def draw_call(browser: Browser, path: Path) -> int:
    """Draw the README's picture of a call, and return its size in bytes."""
    with _served() as address:
        return _draw(browser, address + _CALL, path, "light", 1280, 760)


def draw_all(browser: Browser, folder: Path) -> None:
    """Draw every page in both themes, wide and narrow, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with _served() as address:
        for page, path in _PAGES.items():
            for theme in ("light", "dark"):
                for width in (1440, 390):
                    _draw(browser, address + path, folder / f"{page}-{theme}-{width}.png", theme, width, 900)


@contextmanager
def _served() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="kros-picture-") as name, LocalS3() as s3:
        os.environ.update(s3.environment | {"AWS_EC2_METADATA_DISABLED": "true"})
        ListenArchive(Path(name), [*ordinary_calls(), *special_calls()], open_store(s3.bucket, "krosai"))
        with serve_page(s3, "krosai", Path(name)) as address:
            yield address


def _draw(browser: Browser, url: str, path: Path, theme: str, width: int, height: int) -> int:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    size = len(page.screenshot(path=path))
    context.close()
    return size


if __name__ == "__main__":
    with sync_playwright() as playwright:
        program = need_program("chromium", "chromium")
        draw_all(playwright.chromium.launch(executable_path=program, args=["--no-sandbox"]), Path(sys.argv[1]))
