"""Settings of clients: what is refused, and who is asked through a proxy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from yarl import URL

from headrace.pipeline.prometheus_http import HttpConfig
from headrace.pipeline.prometheus_http.proxy import Exceptions, Proxies


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"oauth2": {"client_id": "x"}}, "token_url"),
        ({"oauth2": {"client_id": "x", "token_url": "http://a"}}, "either client_secret or client_secret_file"),
        ({"oauth2": {"client_id": "x", "token_url": "ftp://a", "client_secret": "s"}}, "'http' or 'https'"),
        ({"oauth2": {"client_id": "x", "token_url": "http://a", "grant_type": "y"}}, "grant_type (signed assertions"),
        ({"bearer_token": "a", "oauth2": {"client_id": "x", "client_secret": "s", "token_url": "http://a"}},
         "at most one of basic_auth, authorization, oauth2"),
        ({"basic_auth": {"password_ref": "x"}}, "password_ref (there is no secret manager"),
        ({"authorization": {"credentials_ref": "x"}}, "credentials_ref (there is no secret manager"),
        ({"tls_config": {"ca_ref": "x"}}, "ca_ref (there is no secret manager"),
        ({"tls_config": {"ca": "x", "ca_file": "y"}}, "at most one of ca and ca_file"),
        ({"tls_config": {"cert": "x"}}, "set together"),
        ({"tls_config": {"min_version": "TLS10"}}, "min_version TLS10 is not supported"),
        ({"tls_config": {"min_version": "TLS13", "max_version": "TLS12"}}, "above max_version"),
        ({"http_headers": {"authorization": {"values": ["x"]}}}, 'setting header "authorization" is not allowed'),
        ({"http_headers": {"a b": {"values": ["x"]}}}, "no name of a header"),
        ({"no_proxy": "a"}, "proxy_url must also be configured"),
        ({"proxy_from_environment": True, "proxy_url": "http://a"}, "proxy_url must not be configured"),
        ({"proxy_from_environment": True, "no_proxy": "a"}, "no_proxy must not be configured"),
        ({"proxy_connect_header": {"a": ["b"]}}, "proxy_url or proxy_from_environment must also"),
        ({"proxy_url": "socks5://a"}, "http and https proxies are supported"),
    ],
)  # fmt: skip
def test_what_is_refused(options: dict[str, Any], why: str) -> None:
    """The message names the option."""
    with pytest.raises(ValidationError) as caught:
        HttpConfig.model_validate(options)
    assert why in str(caught.value)


def test_no_secret_is_shown() -> None:
    """Neither printed nor serialised."""
    config = HttpConfig.model_validate(
        {
            "oauth2": {"client_id": "x", "client_secret": "hidden", "token_url": "http://a"},
            "http_headers": {"X-A": {"secrets": ["hidden"]}},
            "tls_config": {"cert": "c", "key": "hidden"},
            "proxy_url": "http://a",
            "proxy_connect_header": {"X-B": ["hidden"]},
        }
    )
    assert "hidden" not in f"{config!r} {config.model_dump_json()}"


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "direct"),
    [
        ("lake.test", "lake.test", 80, True),
        ("lake.test", "a.lake.test", 80, True),
        ("lake.test", "alake.test", 80, False),
        (".lake.test", "lake.test", 80, False),
        ("*.lake.test", "A.Lake.Test", 80, True),
        ("lake.test:8080", "lake.test", 80, False),
        ("lake.test:8080", "lake.test", 8080, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.0.0.1:81", "10.0.0.1", 80, False),
        ("[2001:db8::1]:81", "2001:db8::1", 81, True),
        ("2001:db8::/32", "2001:db8::7", 81, True),
        ("*", "anything.test", 80, True),
        (" , a.test", "b.test", 80, False),
        ("a.test", "localhost", 80, True),
        ("a.test", "127.0.0.1", 80, True),
        ("a.test", "::1", 80, True),
    ],
)
def test_who_is_asked_directly(exceptions: str, host: str, port: int, direct: bool) -> None:
    """As Go reads ``NO_PROXY``; this machine always where there is such a list."""
    assert Exceptions.parse(exceptions).hold(host, port) is direct


def test_the_environment_is_read_where_it_is_asked_for() -> None:
    """One proxy a scheme, the upper-case name first; without the option the environment means nothing."""
    environment = {"HTTP_PROXY": "a:1", "http_proxy": "http://b:2", "https_proxy": "http://c:3", "NO_PROXY": "d.test"}
    proxies = Proxies.of(HttpConfig(proxy_from_environment=True), environment)
    chosen = [proxies.choose(URL(url)).proxy for url in ("http://x", "https://x", "http://d.test", "http://localhost")]
    assert chosen == [URL("http://a:1"), URL("http://c:3"), None, None]
    assert Proxies.of(HttpConfig(), environment).choose(URL("http://x")).proxy is None


def test_a_plain_proxy_is_used_for_this_machine_too() -> None:
    """``proxy_url`` alone has no exceptions."""
    assert Proxies.of(HttpConfig(proxy_url="http://p")).choose(URL("http://localhost")).proxy == URL("http://p")
