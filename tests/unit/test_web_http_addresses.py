"""Whose address a request comes from."""

import pytest

from tomaat.web.http.addresses import Proxies, one_for_all

PROXIES = Proxies(["127.0.0.0/8", "::1/128", "192.0.2.7"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the client itself may say what it likes before
        ("192.0.2.7", "2001:db8::9", "2001:db8::9"),
        ("::1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("203.0.113.1", "198.51.100.1", "203.0.113.1"),  # no proxy of ours: believed nothing
        ("192.0.2.8", "198.51.100.1", "192.0.2.8"),
        ("no address", "198.51.100.1", "no address"),
    ],
)
def test_only_a_trusted_proxy_says_for_whom_it_speaks(peer, forwarded, client):
    assert PROXIES.client_of(peer, forwarded) == client


def test_addresses_of_one_ipv6_network_are_one_client():
    names = {one_for_all(f"2001:db8::{number:x}") for number in range(1, 99)}
    assert names == {"2001:db8::/64"}
    assert one_for_all("2001:db8:0:1::1") != "2001:db8::/64"
    assert one_for_all("::ffff:192.0.2.1") == "::ffff:192.0.2.1"
