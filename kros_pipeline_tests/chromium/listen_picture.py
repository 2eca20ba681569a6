"""Make the README's picture of the page: `python -m kros_pipeline_tests.chromium.listen_picture [--all FOLDER]`.

The calls are those of the browser's tests. With `--all` every page is drawn in both themes, wide and narrow, to be
looked at.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from kros_pipeline.sandbox import LocalS3
from kros_pipeline_tests.chromium.listen_calls import LAST, ordinary_calls, special_calls
from kros_pipeline_tests.support.debian import need_program
from kros_pipeline_tests.support.listen_archive import ListenArchive
from kros_pipeline_tests.support.listen_page import open_store, serve_page

PICTURE = Path(__file__).parents[2] / "docs/pictures/listen.png"
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


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser("python -m kros_pipeline_tests.chromium.listen_picture")
    parser.add_argument("--all", type=Path, help="draw every page into this folder, and not the README's picture")
    folder = parser.parse_args().all
    with (
        tempfile.TemporaryDirectory(prefix="kros-picture-") as name,
        LocalS3() as s3,
        sync_playwright() as playwright,
    ):
        os.environ.update(s3.environment | {"AWS_EC2_METADATA_DISABLED": "true"})
        ListenArchive(Path(name), [*ordinary_calls(), *special_calls()], open_store(s3.bucket, "krosai"))
        browser = playwright.chromium.launch(
            executable_path=need_program("chromium", "chromium"), args=["--no-sandbox"]
        )
        with serve_page(s3, "krosai", Path(name)) as address:
            if folder is None:
                PICTURE.parent.mkdir(exist_ok=True)
                _draw(browser, address + _CALL, PICTURE, "light", 1280, 760)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                for page, path in _PAGES.items():
                    for theme in ("light", "dark"):
                        for width in (1440, 390):
                            _draw(browser, address + path, folder / f"{page}-{theme}-{width}.png", theme, width, 900)
        browser.close()


def _draw(browser: Browser, url: str, path: Path, theme: str, width: int, height: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    page.screenshot(path=path)
    context.close()


if __name__ == "__main__":
    main()
