"""Audio may come from public addresses only: not from IANA's special ones, in whatever form they are written."""

import pytest

from kros_pipeline.source.public_addresses import may_send_audio

PUBLIC = ["8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::808:808", "::ffff:8.8.8.8"]
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"]
NOT_PUBLIC = {
    "0.0.0.0": "this host",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "192.168.1.1": "private",
    "100.64.0.1": "a carrier's",
    "100.100.100.200": "a cloud's metadata, in a carrier's range",
    "168.63.129.16": "the agent of a cloud, in a public range",
    "169.254.169.254": "link-local: a cloud's metadata",
    "192.0.0.192": "protocol assignments: a cloud's metadata",
    "192.0.2.1": "documentation",
    "192.88.99.1": "relays of 6to4",
    "198.18.0.1": "benchmarks",
    "224.0.1.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::7f00:1": "IPv4-compatible",
    "::ffff:10.0.0.1": "mapped",
    "::ffff:100.64.0.1": "mapped",
    "::ffff:169.254.169.254": "mapped",
    "::ffff:0:127.0.0.1": "translated",
    "64:ff9b::10.0.0.1": "NAT64",
    "64:ff9b::169.254.169.254": "NAT64",
    "64:ff9b::100.64.0.1": "NAT64",
    "64:ff9b:1::808:808": "NAT64 of a local network",
    "2002:7f00:1::": "6to4",
    "2002:808:808::1": "6to4",
    "2001:0:53aa:64c:0:fbff:80ff:fffe": "Teredo",
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "100::1": "discarded",
    "fc00::1": "unique local",
    "fd00:ec2::254": "a cloud's metadata",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local, with its zone",
    "fec0::1": "site-local",
    "ff0e::1": "multicast",
    "4000::1": "not assigned",
    # what is no numeric address at all
    "": "nothing",
    "localhost": "a name",
    "2130706433": "decimal",
    "0x7f000001": "hexadecimal",
    "0177.0.0.1": "octal",
    "127.1": "short",
    "8.8.8.8 ": "a space",
    "[::1]": "brackets",
}


@pytest.mark.parametrize("loopback_allowed", [False, True])
@pytest.mark.parametrize("address", PUBLIC)
def test_audio_may_come_from_a_public_address(address: str, loopback_allowed: bool) -> None:
    assert may_send_audio(address, loopback_allowed=loopback_allowed)


@pytest.mark.parametrize("loopback_allowed", [False, True])
@pytest.mark.parametrize("address", NOT_PUBLIC, ids=lambda address: f"{address} {NOT_PUBLIC[address]}")
def test_audio_may_come_from_no_other_address(address: str, loopback_allowed: bool) -> None:
    assert not may_send_audio(address, loopback_allowed=loopback_allowed)


@pytest.mark.parametrize("address", LOOPBACK)
def test_audio_may_come_from_this_machine_where_the_api_is_here(address: str) -> None:
    assert may_send_audio(address, loopback_allowed=True)
    assert not may_send_audio(address, loopback_allowed=False)
