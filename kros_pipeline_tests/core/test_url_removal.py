"""A URL that grants access loses its query before anything is stored."""

from __future__ import annotations

import pytest

from kros_pipeline.source.call_parsing import without_urls


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature=s", "sig=s", "a=1&token=s", "Expires=1&Key-Pair-Id=s", "X-Goog-Credential=s"]
)
def test_a_url_with_credentials_loses_its_query_in_any_field(query: str) -> None:
    assert without_urls({"link": f"https://cdn.example/a.mp3?{query}"}) == {"link": "https://cdn.example/a.mp3"}


def test_a_link_without_credentials_is_unchanged() -> None:
    assert without_urls({"crm": "https://crm.example/contact?id=5"}) == {"crm": "https://crm.example/contact?id=5"}
