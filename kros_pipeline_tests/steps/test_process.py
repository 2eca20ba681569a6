"""Configuring the process is one explicit call, which may be repeated."""

import logging
import os

import pytest

from kros_pipeline.steps.process import configure_process

URL = "https://storage.krosai.com/recordings/a.mp3?X-Amz-Signature=s3cr3t"


@pytest.mark.parametrize("name", ["urllib3.connection", "urllib3.connectionpool"])
def test_what_urllib3_logs_is_redacted(name: str, caplog: pytest.LogCaptureFixture) -> None:
    configure_process()
    with caplog.at_level(logging.DEBUG, name):
        logging.getLogger(name).warning("Failed to parse headers (url=%s)", URL, exc_info=ValueError(URL))
    assert "s3cr3t" not in caplog.text
    assert "Failed to parse headers (url=https://storage.krosai.com/recordings/a.mp3" in caplog.text


def test_configuring_twice_adds_no_second_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "mimalloc")  # an operator's own choice stays
    configure_process()
    filters = list(logging.getLogger("urllib3.connectionpool").filters)
    configure_process()
    assert logging.getLogger("urllib3.connectionpool").filters == filters
    assert os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "mimalloc"
