"""Where addresses of the network lead to, and who may be sent there."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.auth.hostile_urls import INNER, INNER_6

from patina.mcp.auth.addresses import Reach, address_in, allowed, kind_of

PUBLIC = (
    *("1.1.1.1", "8.8.8.8", "93.184.216.34", "11.0.0.1", "172.15.255.255", "172.32.0.1"),
    *("100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "198.17.255.255"),
    *("198.20.0.0", "223.255.255.255", "168.63.129.17", "192.167.1.1", "192.169.1.1"),
    *("2606:4700::1111", "2a00:1450::1", "2001:4860::8888", "::ffff:1.1.1.1", "64:ff9b::101:101"),
)


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public(text: str) -> None:
    address = address_in(text)
    assert address is not None
    assert kind_of(address) == "public"
    assert allowed(address, "public")


@pytest.mark.parametrize("text", [*INNER, *INNER_6])
def test_what_is_not(text: str) -> None:
    address = address_in(text)
    assert address is not None
    assert not allowed(address, "public")


@pytest.mark.parametrize(
    ("text", "kind", "reaches"),
    [
        ("10.0.0.1", "private", {"private", "loopback"}),
        ("100.64.0.1", "private", {"private", "loopback"}),
        ("fd12::1", "private", {"private", "loopback"}),
        ("::ffff:192.168.1.1", "private", {"private", "loopback"}),
        ("127.0.0.53", "loopback", {"loopback"}),
        ("::1", "loopback", {"loopback"}),
        ("::ffff:7f00:1", "loopback", {"loopback"}),
        # Nobody may ever be sent to these.
        ("169.254.169.254", "special", set()),
        ("::ffff:169.254.169.254", "special", set()),
        ("fd00:ec2::254", "special", set()),
        ("100.100.100.200", "special", set()),
        ("64:ff9b::a00:1", "special", set()),
        ("64:ff9b::7f00:1", "special", set()),
        ("0.0.0.0", "special", set()),
        ("::", "special", set()),
        ("fe80::1", "special", set()),
        ("fd12::1%eth0", "special", set()),
        ("224.0.0.251", "special", set()),
    ],
)
def test_how_far_in_somebody_may_be_sent(text: str, kind: str, reaches: set[Reach]) -> None:
    address = address_in(text)
    assert address is not None
    assert kind_of(address) == kind
    every: tuple[Reach, ...] = ("public", "private", "loopback")
    assert {reach for reach in every if allowed(address, reach)} == reaches


@given(st.integers(0, 2**32 - 1))
def test_no_address_is_public_that_python_knows_to_be_none(number: int) -> None:
    address = IPv4Address(number)
    if kind_of(address) == "public":
        assert address.is_global
        assert not address.is_multicast
    mapped = IPv6Address((0xFFFF << 32) + number)
    assert kind_of(mapped) == kind_of(address)


@given(st.integers(0, 2**125 - 1), st.integers(0, 7))
def test_nor_one_of_the_newer_kind(number: int, begin: int) -> None:
    address = IPv6Address((begin << 125) + number)
    if kind_of(address) == "public" and address.ipv4_mapped is None:
        assert address.is_global
        assert not address.is_multicast
        assert address.sixtofour is None
        assert address.teredo is None


@pytest.mark.parametrize("text", ["0177.0.0.1", "127.1", "2130706433", "0x7f.1", "a.example", ""])
def test_a_number_in_any_other_form_is_no_address(text: str) -> None:
    assert address_in(text) is None
