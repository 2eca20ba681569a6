"""The logins of `deploy/login`: each web server is reached by its own login only."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from threading import Thread

from kros_pipeline.core.browse_settings import BrowseSettings, parse_browse_settings
from kros_pipeline.core.settings import SettingsReader
from kros_pipeline_tests.support.deployment_files import DEPLOY, compose_services, login_compose, unit

SOCKET = "/run/kros-browse/socket"
LOGINS = {file.stem.rpartition("-")[2]: tomllib.loads(file.read_text()) for file in DEPLOY.glob("login/*.cfg")}


def test_each_login_has_an_address_a_cookie_and_a_server_of_its_own_on_this_machine() -> None:
    listens = {who: each["http_address"] for who, each in LOGINS.items()}
    servers = {who: one for who, each in LOGINS.items() for one in each["upstreams"]}
    assert servers == {
        "viewers": "http://127.0.0.1:3001/", "operators": "http://127.0.0.1:3000/", "reviewers": f"unix://{SOCKET}",
    }  # fmt: skip
    assert len({*listens.values(), *servers.values()}) == 6
    assert all(address.startswith("127.0.0.1:") for address in listens.values())
    assert (
        len({each["cookie_name"] for each in LOGINS.values()})
        == len({each["redirect_url"] for each in LOGINS.values()})
        == 3
    )
    for who, each in LOGINS.items():
        assert each["pass_user_headers"] and each["cookie_secure"] and not each["insecure_oidc_skip_nonce"], who
        assert each["redirect_url"].startswith("https://") and each["cookie_name"].startswith("__Host-"), who
        assert bool(each.get("allowed_groups")) == (who != "viewers")
        scopes = {"openid", "email", "profile", "offline_access"}  # the last one: cookie_refresh needs a refresh token
        assert set(each["scope"].split()) == scopes | ({"groups"} if who != "viewers" else set())


def settings_of_the_page(given: dict[str, str]) -> BrowseSettings:
    reader = SettingsReader({"KROS_BROWSE_USERS": "*=read-without-numbers"} | given)
    settings = parse_browse_settings(reader)
    assert not reader.problems
    assert settings.has_login and settings.user_header.lower() == "x-forwarded-email"
    return settings


def test_the_unit_of_the_reviewers_page_makes_a_socket_that_only_the_logins_group_can_open() -> None:
    service = unit(DEPLOY / "login/kros-browse.service")["Service"]
    given = dict(word.split("=") for word in service["Environment"][0].split())
    settings = settings_of_the_page({name: text for name, text in given.items() if name.startswith("KROS_")})
    assert settings.is_unix_socket and settings.host == SOCKET
    assert [str(Path(SOCKET).parent)] == [f"/run/{folder}" for folder in service["RuntimeDirectory"]]
    assert (service["RuntimeDirectoryMode"], service["Group"]) == (["0750"], ["kros-login"])
    assert "usermod --append --groups kros-login oauth2-proxy" in (DEPLOY / "login/README.md").read_text()


def test_the_reviewers_page_of_compose_is_reached_by_its_login_only() -> None:
    file = login_compose()
    page, login = file["services"]["browse"], file["services"]["login-reviewers"]
    assert page["command"] == ["python", "-m", "kros_pipeline", "browse"]
    assert page["env_file"] == "../login/browse.env", "credentials of its own"
    settings = settings_of_the_page(page["environment"])
    [network] = settings.proxies
    addresses = {name: each["networks"]["reviewers"]["ipv4_address"] for name, each in file["services"].items()
                 if "reviewers" in each.get("networks", {})}  # fmt: skip
    assert addresses.keys() == {"browse", "login-reviewers"}
    assert list(page["networks"]) == list(login["networks"]) == ["reviewers"]
    assert list(network) == [ip_address(addresses["login-reviewers"])]
    [subnet] = file["networks"]["reviewers"]["ipam"]["config"]
    assert all(ip_address(address) in ip_network(subnet["subnet"]) for address in addresses.values())
    assert login["environment"] == {
        "OAUTH2_PROXY_HTTP_ADDRESS": "0.0.0.0:4182", "OAUTH2_PROXY_UPSTREAMS": f"http://browse:{settings.port}/",
    }  # fmt: skip
    assert login["ports"] == [f"{LOGINS['reviewers']['http_address']}:4182"] and "ports" not in page


def test_compose_asks_for_the_reviewers_file_only_where_there_are_reviewers() -> None:
    """Compose refuses to start anything while a file of a service without an inactive profile is missing."""
    of_reviewers = {name for name, each in login_compose()["services"].items() if each.get("profiles") == ["reviewers"]}
    assert of_reviewers == {"browse", "login-reviewers"}
    assert "COMPOSE_PROFILES=reviewers" in (DEPLOY / "login/README.md").read_text()


def test_the_reviewers_page_of_compose_is_locked_down_and_has_a_folder_of_its_own() -> None:
    file = login_compose()
    page, other = file["services"]["browse"], compose_services()["code-server"]
    for name in ("image", "restart", "init", "read_only", "cap_drop", "security_opt", "logging"):
        assert page[name] == other[name], name
    assert page["volumes"] == ["browse:/tmp"] and "browse" in file["volumes"]  # the image's HOME
    kind, python, flag, code = page["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python", "-c")
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        code = code.replace("8757", str(server.server_port))
        thread = Thread(target=server.handle_request)
        thread.start()
        subprocess.run([sys.executable, "-S", "-c", code], check=True, timeout=60)
        thread.join()
    assert subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, timeout=60).returncode == 1
