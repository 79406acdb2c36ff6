"""Nothing is sent to this host, its neighbours or a cloud's metadata unless it is allowed."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

import pytest
from realm_exporter_webhook.addresses import (
    NOT_GLOBAL_4,
    NOT_GLOBAL_6,
    Guard,
    RefusedAddressError,
    UnresolvedError,
    inside,
)
from realm_exporter_webhook.sender import Poster

from .conftest import TLS, Answer, Receiver


class Names:
    """Resolves names as the test sets; each look-up takes the next answer, the last stays."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.names.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]


INSIDE = """
127.0.0.1 127.8.9.1 0.0.0.0 0.1.2.3 10.0.0.0 10.1.2.3 10.255.255.255 172.16.0.1 172.31.255.255
192.168.0.0 192.168.255.255 169.254.169.254 169.254.1.1 169.254.170.2 100.64.0.0 100.127.255.255
100.100.100.200 168.63.129.16 192.0.0.1 192.0.0.9 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1
198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::1
64:ff9b:1::8.8.8.8 100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:f7f7:f7f7 2001:10::1
2001:20::1 2001:db8::1 2002:7f00:1:: 2002:a00:1:: 2002:c0a8:101::1 3fff::1 4000::1 5f00::1
fc00::1 fd00:ec2::254 fd20:ce::254 fdff::1 fe80::1 fe80::1%eth0 fec0::1 feff::1 ff02::1 ff0e::1
2001:470::5efe:7f00:1 2001:470::200:5efe:a00:1
""".split()  # noqa: SIM905 - so long a list is read more easily so

OUTSIDE = """
1.1.1.1 8.8.8.8 93.184.215.14 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.31.196.1
192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255
203.0.114.0 223.255.255.255 2001:200::1 2001:4860:4860::8888 2001:db9::1 2003::1 2606:4700::1111
2620:4f:8000::1 2a00:1450:4001::1 3ffe:ffff::1 ::ffff:8.8.8.8 64:ff9b::5db8:d70e 2002:808:808::1
2001:470::5efe:808:808
""".split()  # noqa: SIM905 - so long a list is read more easily so


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address: str) -> None:
    guard = Guard(resolver=Names(innocent_example=[[address]]))
    with pytest.raises(RefusedAddressError, match="allow_hosts"):
        guard.check("https://innocent.example/hook")


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_outside_is_taken(address: str) -> None:
    guard = Guard(resolver=Names(example_org=[[address]]))
    assert guard.check("https://example.org/hook").addresses == (address,)


@pytest.mark.parametrize("network", [*NOT_GLOBAL_4, *NOT_GLOBAL_6], ids=str)
def test_both_ends_of_each_network_that_is_not_global_are_refused(
    network: IPv4Network | IPv6Network,
) -> None:
    for address in (network.network_address, network.broadcast_address):
        assert inside(address) is not None


def test_one_address_inside_among_others_is_enough_to_refuse() -> None:
    guard = Guard(resolver=Names(example_org=[["93.184.215.14", "10.0.0.1"]]))
    with pytest.raises(RefusedAddressError, match=r"10\.0\.0\.1"):
        guard.check("https://example.org/hook")


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/x",
        "http://0x7f.1/x",
        "http://0x7f000001/x",
        "http://0177.0.0.1/x",
        "http://017700000001/x",
        "http://127.1/x",
        "http://127.0.1/x",
        "http://0/x",
        "http://127.0.0.1./x",
        "http://localhost/x",
        "http://\uff11\uff12\uff17.0.0.1/x",
        "http://\u2460\u2461\u2466.0.0.1/x",
        "http://127\u30020\u30020\u30021/x",
        "http://example.org@127.0.0.1/x",
        "http://example.org:80@127.0.0.1:80/x",
        "http://[::1]/x",
        "http://[::]/x",
        "http://[fe80::1%25eth0]/x",
        "http://[fe80::1%eth0]/x",
        "http://[::ffff:7f00:1]/x",
        "http://[0:0:0:0:0:ffff:127.0.0.1]/x",
    ],
)
def test_no_way_to_write_this_host_gets_through(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        Guard().check(url)


@pytest.mark.parametrize("url", ["http://a\0b.example/x", f"http://{'a' * 64}.example/x"])
def test_a_name_that_no_resolver_takes_is_not_resolved(url: str) -> None:
    with pytest.raises(UnresolvedError):
        Guard().check(url)


def test_a_name_that_is_allowed_may_be_inside_and_only_that() -> None:
    names = Names(ntfy_lan=[["192.168.1.9"]], other_lan=[["192.168.1.9"]])
    guard = Guard(["NTFY.lan"], names)
    assert guard.check("http://ntfy.lan:8080/x").addresses == ("192.168.1.9",)
    with pytest.raises(RefusedAddressError):
        guard.check("http://other.lan/x")
    with pytest.raises(RefusedAddressError):
        guard.check("http://192.168.1.9/x")


def poster(names: Names, *allowed: str) -> Poster:
    return Poster(Guard(allowed, names), timeout_s=5.0)


def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    names = Names(rebinding_test=[["127.0.0.1"], ["127.0.0.2"]])
    outcome = poster(names, "rebinding.test").post(
        receiver.url(host="rebinding.test"), b"{}", "msg_1"
    )
    assert outcome.delivered, outcome.problem
    assert names.asked == ["rebinding.test"], "resolved once: there is no second answer to use"
    assert receiver.received[0].headers["host"] == f"rebinding.test:{receiver.port}"


def test_the_next_address_is_tried_where_the_first_takes_no_connection(receiver: Receiver) -> None:
    names = Names(two_test=[["127.0.0.9", "127.0.0.1"]])
    outcome = poster(names, "two.test").post(receiver.url(host="two.test"), b"{}", "msg_1")
    assert outcome.delivered, outcome.problem


def test_a_redirect_is_followed_to_an_address_that_is_allowed(receiver: Receiver) -> None:
    receiver.answers = [Answer(307, {"location": "/elsewhere"})]
    outcome = poster(Names(), "127.0.0.1").post(receiver.url(), b'{"a":1}', "msg_1", "secret")
    assert outcome.delivered
    assert [each.path for each in receiver.received] == ["/hook", "/elsewhere"]
    assert receiver.received[1].body == b'{"a":1}'


def test_a_redirect_inside_is_refused(receiver: Receiver) -> None:
    names = Names(hook_test=[["127.0.0.1"]], metadata_test=[["169.254.169.254"]])
    for place in ("http://metadata.test/latest", f"http://127.0.0.1:{receiver.port}/admin"):
        receiver.answers = [Answer(307, {"location": place})]
        outcome = poster(names, "hook.test").post(receiver.url(host="hook.test"), b"{}", "m")
        assert not outcome.delivered
        assert not outcome.retryable
        assert "allow_hosts" in outcome.problem
        assert "redirects elsewhere: " in outcome.problem
    assert [each.path for each in receiver.received] == ["/hook", "/hook"]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_turn_into_a_get_is_a_failure(
    status: int, receiver: Receiver
) -> None:
    receiver.answers = [Answer(status, {"location": "/elsewhere"})]
    outcome = poster(Names(), "127.0.0.1").post(receiver.url(), b"{}", "msg_1")
    assert (outcome.status, outcome.retryable) == (status, False)
    assert "set its new address" in outcome.problem
    assert len(receiver.received) == 1


@pytest.mark.parametrize("place", ["//[", "http://[::1", "http://a:b/", "http://[x]/"])
def test_a_redirect_to_no_address_is_an_outcome(receiver: Receiver, place: str) -> None:
    receiver.answers = [Answer(307, {"location": place})]
    outcome = poster(Names(), "127.0.0.1").post(receiver.url(), b"{}", "msg_1")
    assert outcome.problem
    assert not outcome.delivered


def test_redirects_end(receiver: Receiver) -> None:
    receiver.always = Answer(308, {"location": "/hook"})
    outcome = poster(Names(), "127.0.0.1").post(receiver.url(), b"{}", "msg_1")
    assert "redirects" in outcome.problem
    assert len(receiver.received) == 4


def test_tls_is_checked_against_the_name_and_not_the_pinned_address(
    tls_receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "hook.pem"))
    names = Names(hook_test=[["127.0.0.1"]], evil_test=[["127.0.0.1"]])
    sender = poster(names, "hook.test", "evil.test", "127.0.0.1")
    assert sender.post(tls_receiver.url(host="hook.test"), b"{}", "msg_1").delivered
    for other in ("evil.test", "127.0.0.1"):
        outcome = sender.post(tls_receiver.url(host=other), b"{}", "msg_1")
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.problem
        assert "SSL_CERT_FILE" in outcome.problem
    assert len(tls_receiver.received) == 1


def test_a_redirect_never_leaves_tls(
    tls_receiver: Receiver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "hook.pem"))
    names = Names(hook_test=[["127.0.0.1"]])
    tls_receiver.answers = [Answer(307, {"location": receiver.url(host="hook.test")})]
    outcome = poster(names, "hook.test").post(tls_receiver.url(host="hook.test"), b"{}", "m")
    assert "without TLS" in outcome.problem
    assert receiver.received == []


def test_no_proxy_of_the_environment_gets_the_message(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert poster(Names(), "127.0.0.1").post(receiver.url(), b"{}", "msg_1").delivered
