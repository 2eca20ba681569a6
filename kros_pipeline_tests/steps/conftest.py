"""Steps are tested on an archive in memory, which passes the same contract suite as S3 does."""

import pytest

from kros_pipeline_tests.support.accounts import MakeAccount


@pytest.fixture
def account(memory_account: MakeAccount) -> MakeAccount:
    """Makes accounts with an archive in memory. A test that needs S3 itself asks for `s3_account`."""
    return memory_account
