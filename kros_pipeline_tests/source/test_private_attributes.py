"""What is private in urllib3 is used in one file each, which has another way where it is missing."""

from pathlib import Path

import pytest

import kros_pipeline

PACKAGE = Path(kros_pipeline.__file__).parent


@pytest.mark.parametrize(
    ("name", "file"), [("_fp", "source/response_body.py"), ("_new_conn", "source/checked_connections.py")]
)
def test_a_private_attribute_is_named_in_one_file_only(name: str, file: str) -> None:
    users = [path for path in PACKAGE.rglob("*.py") if f".{name}" in (text := path.read_text()) or f'"{name}"' in text]
    assert [path.relative_to(PACKAGE).as_posix() for path in users] == [file]
