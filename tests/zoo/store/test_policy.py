"""Which addresses are asked, in which order, and which are refused: pure decisions, without a connection."""

from __future__ import annotations

import pytest

from zoo.errors import UsageError
from zoo.store.policy import (
    Policy,
    addresses,
    credential_hint,
    is_loopback,
    origin,
    parse_mirrors,
    policy_from_environment,
    refusal,
    shown,
)

GOOGLE = "https://storage.googleapis.com/tensorflow/net.h5"


def asked(*urls: str, pinned: bool = True, mirror: str = "", allow_http: bool = False) -> list[str]:
    policy = Policy(mirrors=parse_mirrors(mirror), allow_http=allow_http)
    return [each.url for each in addresses(urls, pinned=pinned, policy=policy) if each.refused is None]


def test_addresses_are_asked_in_the_order_in_which_they_are_published() -> None:
    assert asked(GOOGLE, "https://other.example/net.h5") == [GOOGLE, "https://other.example/net.h5"]


def test_plain_http_comes_after_https_and_only_for_a_pinned_file() -> None:
    plain, secure = "http://download.tensorflow.org/net.tgz", "https://download.tensorflow.org/net.tgz"
    assert asked(plain) == [secure, plain]
    assert asked(plain, pinned=False) == [secure]
    assert asked(plain, pinned=False, allow_http=True) == [secure, plain]
    assert asked("http://127.0.0.1:8000/net.tgz", pinned=False) == ["http://127.0.0.1:8000/net.tgz"]


@pytest.mark.parametrize("url", ["ftp://host.example/a", "file:///etc/passwd", "gs://bucket/a", "/etc/passwd", ""])
def test_other_protocols_are_never_spoken(url: str) -> None:
    assert asked(url, allow_http=True) == []


def test_a_mirror_stands_in_the_place_of_what_it_copies() -> None:
    copy = "https://storage.googleapis.com/=https://mirror.example/gcs/"
    assert asked(GOOGLE, mirror=copy) == ["https://mirror.example/gcs/tensorflow/net.h5"]
    assert asked("https://other.example/a", mirror=copy) == ["https://other.example/a"]


def test_the_most_special_mirror_comes_first_and_several_are_tried_in_turn() -> None:
    rules = "https://storage.googleapis.com/=https://a.example/, https://storage.googleapis.com/tensorflow/=https://b.example/"
    assert asked(GOOGLE, mirror=rules) == ["https://b.example/net.h5", "https://a.example/tensorflow/net.h5"]


def test_a_mirror_of_the_https_address_serves_the_http_one_too() -> None:
    rule = "https://download.tensorflow.org/=https://mirror.example/"
    assert asked("http://download.tensorflow.org/net.tgz", mirror=rule) == ["https://mirror.example/net.tgz"]


@pytest.mark.parametrize("text", ["nonsense", "https://a.example/", "a=b", "https://a.example/=ftp://b.example/"])
def test_a_mirror_that_is_none_is_explained(text: str) -> None:
    with pytest.raises(UsageError, match="--mirror or ZOO_MIRROR"):
        parse_mirrors(text)


def test_the_environment_decides_where_no_argument_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRROR", "https://a.example/=https://b.example/")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert policy_from_environment() == Policy(
        offline=True, mirrors=(("https://a.example/", "https://b.example/"),)
    )  # fmt: skip
    assert policy_from_environment(offline=False, mirror="") == Policy()
    for no in ("0", "", "false", "No"):
        monkeypatch.setenv("ZOO_OFFLINE", no)
        assert not policy_from_environment().offline


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000/a", True),
        ("http://127.9.9.9/a", True),
        ("http://localhost/a", True),
        ("http://[::1]:80/a", True),
        ("http://127.0.0.1.example/a", False),
        ("http://localhost.example/a", False),
        ("http://10.0.0.1/a", False),
        ("http://0.0.0.0/a", False),
        ("http://127.0.0.1@host.example/a", False),
    ],
)
def test_what_leads_to_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) == here
    assert (refusal(url, pinned=False, policy=Policy()) is None) == here


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://Host.example/a") == origin("https://host.example:443/b") == ("https", "host.example", 443)
    assert len({origin(url) for url in ("http://a.example", "https://a.example", "http://a.example:81")}) == 3


def test_what_is_shown_of_an_address_holds_no_secret() -> None:
    assert shown("https://me:s3cret@host.example/a.h5?X-Signature=s3cret#s3cret") == "https://host.example/a.h5"


def test_credentials_go_to_their_own_hosts_and_never_over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "one")
    monkeypatch.setenv("ZOO_TOKEN", "two")

    def sent(url: str, mirror: str = "") -> str | None:
        (address, *_) = addresses([url], pinned=True, policy=Policy(mirrors=parse_mirrors(mirror)))
        assert address.credential is None or address.credential.header not in repr(address)
        return address.credential.header if address.credential else None

    assert sent("https://huggingface.co/a") == "Bearer one"
    assert sent("https://huggingface.co.example/a") is None
    assert sent(GOOGLE) is None
    assert sent(GOOGLE, "https://storage.googleapis.com/=https://mirror.example/") == "Bearer two"
    assert sent(GOOGLE, "https://storage.googleapis.com/=http://mirror.example/") is None
    assert sent(GOOGLE, "https://storage.googleapis.com/=https://me:pw@mirror.example/") == "Basic bWU6cHc="


@pytest.mark.parametrize("rule", ["https://a.example/=ftp://me:s3cret@b.example/", "me:s3cret@b.example"])
def test_a_mirror_that_is_none_is_not_shown(rule: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mirrors(f"https://a.example/=https://b.example/,{rule}")
    assert "s3cret" not in str(caught.value)
    assert "number 2" in str(caught.value)


@pytest.mark.parametrize("token", ["s3cret\nvalue", "s3cret value", "s3crét"])
def test_a_token_that_is_none_is_refused_and_not_shown(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UsageError, match="HF_TOKEN holds no token") as caught:
        addresses(["https://huggingface.co/a"], pinned=True, policy=Policy())
    assert "s3cr" not in str(caught.value)


def test_users_wait_two_minutes_at_most_for_a_server_that_asks_for_more() -> None:
    assert Policy().longest_wait == 120


def test_the_hint_after_a_refusal_names_the_variable() -> None:
    (hub,) = addresses(["https://huggingface.co/a"], pinned=True, policy=Policy())
    assert credential_hint(hub) == "no credential was sent: set HF_TOKEN"
    plain = addresses(["http://mirror.example/a"], pinned=True, policy=Policy())[1]
    assert "none ever is over plain http" in credential_hint(plain)
