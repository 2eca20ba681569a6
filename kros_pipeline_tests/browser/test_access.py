"""Who is answered: this machine, or whom the proxy logged in; and nobody whom another web site sends."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from kros_pipeline_tests.support.listen_archive import PROXIED, ListedCall, ListenArchive, as_user

CALL = "/call/2025-01-10/call_1"
TEXT = "[Agent]: Hello, call 0801 234 5678\n[Caller]: refund +2348099999999 please\n[+2348055555555]: 0803_111_2222"
EVERY_PATH = ["/", "/days", "/days.csv", "/calls", "/calls.csv", "/sample", "/sample.csv?seed=a", CALL, f"{CALL}/audio",
              f"{CALL}/peaks", "/static/listen.js", "/nowhere"]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> ListenArchive:
    return ListenArchive(
        tmp_path_factory.mktemp("listen"),
        [ListedCall("call_1", TEXT, extra='{"note": "0801 234 5678"}'), ListedCall("call_2", state="pending")],
    )


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "[::1", "192.168.1.5:8757", ""]
)
def test_without_a_login_a_foreign_host_name_is_refused(archive: ListenArchive, path: str, host: str) -> None:
    """A site whose name was rebound to this machine's address."""
    assert archive.client().get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8757", "localhost:1", "[::1]:8757"])
def test_without_a_login_this_machine_listens(archive: ListenArchive, host: str) -> None:
    assert archive.client().get("/days", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", EVERY_PATH)
def test_behind_a_proxy_nobody_is_answered_without_a_name(archive: ListenArchive, path: str) -> None:
    client = archive.client(**PROXIED)
    assert client.get(path).status_code == 403
    assert client.get(path, headers=as_user("")).status_code == 403
    two = client.get(path, headers=[("X-Forwarded-User", "amina"), ("X-Forwarded-User", "bola")])
    assert two.status_code == 403


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize("peer", ["10.0.1.9", "127.0.0.1", "::1", "fe80::1"])
def test_the_header_is_believed_from_the_proxys_address_only(archive: ListenArchive, path: str, peer: str) -> None:
    client = TestClient(archive.open(**PROXIED).app, client=(peer, 1), raise_server_exceptions=False)
    forged = as_user("amina") | {"X-Forwarded-For": "10.0.0.9"}
    assert client.get(path, headers=forged).status_code == 403


def test_an_address_of_ipv4_inside_ipv6_is_the_same(archive: ListenArchive) -> None:
    client = TestClient(archive.open(**PROXIED).app, client=("::ffff:10.0.0.9", 1))
    assert client.get("/days", headers=as_user("amina")).status_code == 200


def test_on_a_unix_socket_whoever_opens_it_is_the_proxy_and_a_name_is_needed(archive: ListenArchive) -> None:
    page = archive.open(LISTEN="unix:/run/browse", USERS="amina=listen")
    client = TestClient(page.app, raise_server_exceptions=False)
    assert client.get(CALL, headers=as_user("amina")).status_code == 200
    for headers in ({}, as_user(""), as_user("chi"), {"host": "127.0.0.1"}):
        assert client.get(CALL, headers=headers).status_code == 403


def test_somebody_without_a_role_reads_why(archive: ListenArchive) -> None:
    client = archive.client(PROXIES="10.0.0.9", USERS="amina=listen")
    answer = client.get("/days", headers=as_user("chi"))
    assert answer.status_code == 403 and "chi has no role here" in answer.text


@pytest.mark.parametrize(("user", "status"), [("amina", 200), ("bola", 403), ("chi", 403)])
@pytest.mark.parametrize("part", ["audio", "peaks"])
def test_only_who_may_listen_hears(archive: ListenArchive, user: str, status: int, part: str) -> None:
    client = archive.client(**PROXIED)
    assert client.get(f"{CALL}/{part}", headers=as_user(user)).status_code == status
    assert ("<audio" in client.get(CALL, headers=as_user(user)).text) is (user == "amina")


@pytest.mark.parametrize("path", ["/calls", "/calls.csv", CALL, "/calls?turn=with&words=refund", "/sample?seed=a",
                                  "/calls?turn=with&words=hello&turn=with&words=111&by=anyone"])  # fmt: skip
def test_numbers_are_masked_for_those_who_may_not_see_them(archive: ListenArchive, path: str) -> None:
    client = archive.client(**PROXIED)
    page = client.get(path, headers=as_user("chi")).text
    for number in ("2348012345678", "14155551234", "0801 234 5678", "2348099999999", "2348055555555", "0803_111_2222"):
        assert number not in page, number
    if "sample" not in path:
        assert "2348012345678" in client.get(path, headers=as_user("bola")).text


@pytest.mark.parametrize("words", ["0801", "2348099999999", "refund 23480*", "٠٨٠١", "234 567", "0*", "5678 refund"])
def test_who_may_not_see_numbers_does_not_find_them(archive: ListenArchive, words: str) -> None:
    client = archive.client(**PROXIED)
    query = {"turn": "with", "by": "anyone", "words": words, "from": "2025-01-10", "to": "2025-01-10"}
    page = client.get("/calls", params=query, headers=as_user("chi")).text
    assert "may not see phone numbers" in page
    without = client.get("/calls", params=query | {"turn": "without"}, headers=as_user("chi")).text
    assert ("1 call " in page) is ("1 call " in without)  # it is left out, whatever it would find


@pytest.mark.parametrize("words", ["0801", "08*", "٠٨*", "0*", "please 23480*", '"234 5678"'])
def test_a_mark_on_a_calls_page_finds_no_number_either(archive: ListenArchive, words: str) -> None:
    client, query = archive.client(**PROXIED), {"turn": "with", "by": "anyone", "words": words}
    assert '<mark class="found' not in client.get(CALL, params=query, headers=as_user("chi")).text
    for user, said in (("bola", words), ("chi", "please")):
        assert '<mark class="found' in client.get(CALL, params=query | {"words": said}, headers=as_user(user)).text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8757"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:8757@evil.example"},
        {"origin": "http://evil.example/127.0.0.1:8757"},
    ],
)
def test_a_review_that_another_site_sends_is_refused(archive: ListenArchive, headers: dict[str, str]) -> None:
    answer = archive.client().post(f"{CALL}/reviews", data={"verdict": "good"}, headers=headers)
    assert answer.status_code == 403
    assert not list(archive.store.list("reviews/"))


@pytest.mark.parametrize("path", [f"{CALL}/audio", CALL, "/calls.csv"])
def test_another_site_can_play_and_embed_nothing(archive: ListenArchive, path: str) -> None:
    client, before = archive.client(), len(archive.audit_lines())
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get(path, headers=embedded).status_code == 403
    assert len(archive.audit_lines()) == before
    framed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert client.get(path, headers=framed).status_code == 403
    assert len(archive.audit_lines()) == before
    opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get(path, headers=opened).status_code == 200
