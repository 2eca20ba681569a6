"""The page of licences is what the packages of this suite say of themselves."""

import pytest

from kros_pipeline_tests.system.test_licences import GROUPS, licence, names, rows


@pytest.mark.parametrize("name", names(GROUPS["readers"]))
def test_the_licence_is_the_one_that_the_engine_declares(name: str) -> None:
    assert {reported for package, _, reported in rows() if package == name} == {licence(name)}
