"""The settings of the page: closed by default, and refused where they would open it by mistake."""

from __future__ import annotations

import pytest

from kros_pipeline.core.browse_settings import Role
from kros_pipeline.core.settings import BadSettings
from kros_pipeline_tests.support.listen_archive import PROXIED, browse_settings


def test_it_listens_on_this_machine_by_default() -> None:
    settings = browse_settings()
    assert (settings.host, settings.port, settings.proxies) == ("127.0.0.1", 8757, ())


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "[::]", "listen.example.com"])
def test_elsewhere_it_refuses_to_start_without_a_login(host: str) -> None:
    with pytest.raises(BadSettings, match="KROS_BROWSE_PROXIES"):
        browse_settings(LISTEN=f"{host}:8757")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "[::1]", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    assert browse_settings(LISTEN=f"{host}:0").port == 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"LISTEN": "127.0.0.1"}, "must be a host and a port"),
        ({"LISTEN": "127.0.0.1:99999"}, "must be a host and a port"),
        ({"LISTEN": "unix:browse", "USERS": "a=read"}, "absolute path"),
        ({"LISTEN": "unix:/run/browse"}, "KROS_BROWSE_USERS is missing"),
        ({"LISTEN": "unix:/run/browse", "PROXIES": "10.0.0.9", "USERS": "a=read"}, "nobody has an address"),
        ({"PROXIES": "10.0.0.300", "USERS": "a=read"}, "no IP address"),
        ({"PROXIES": "proxy.example.com", "USERS": "a=read"}, "no IP address"),
        ({"PROXIES": "0.0.0.0/0", "USERS": "a=read"}, "network of all addresses"),
        ({"PROXIES": "10.0.0.9"}, "KROS_BROWSE_USERS is missing"),
        ({"USERS": "a=read"}, "nobody logs in"),
        ({"PROXIES": "10.0.0.9", "USERS": "a=admin"}, "user=role"),
        ({"PROXIES": "10.0.0.9", "USERS": "a"}, "user=role"),
        ({"PROXIES": "10.0.0.9", "USERS": "a=read, a=listen"}, "two roles"),
        ({"USER_HEADER": "X User"}, "name of a header"),
        ({"DAGSTER_URL": "javascript:alert(1)"}, "must be a URL"),
    ],
)
def test_a_bad_setting_is_refused(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadSettings, match=sentence):
        browse_settings(**settings)


def test_who_is_not_named_has_the_role_of_everybody_else_or_none() -> None:
    settings = browse_settings(**PROXIED)
    assert [settings.role_of(name) for name in ("amina", "bola", "chi")] == [
        Role.LISTEN,
        Role.READ,
        Role.READ_WITHOUT_NUMBERS,
    ]
    assert browse_settings(PROXIES="10.0.0.9", USERS="amina=listen").role_of("chi") is None
    mail = browse_settings(PROXIES="10.0.0.9", USERS="o=x@example.com=read")
    assert mail.role_of("o=x@example.com") == Role.READ
