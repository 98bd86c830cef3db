"""Which proxy a request goes through.

Source:
    Prometheus, "Configuration", section http_config; Go's ``golang.org/x/net/http/httpproxy`` for ``NO_PROXY``.
"""

from __future__ import annotations

import base64
import ipaddress
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator
from yarl import URL

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.urls import Url
from headrace.pipeline.prometheus_http.texts import NUMBERS_ARE_TEXTS, SecretText

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.pipeline.config import Secret


class ProxyConfig(ComponentConfig):
    """Through which proxy requests go."""

    model_config = NUMBERS_ARE_TEXTS

    proxy_url: Url | None = None
    """HTTP proxy to ask through; name and password may stand in it."""

    no_proxy: str = ""
    """Hosts, domains, addresses and networks that are asked directly, separated by commas."""

    proxy_from_environment: bool = False
    """Take the proxy from HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""

    proxy_connect_header: dict[str, tuple[SecretText, ...]] = Field(default_factory=dict)
    """Headers of the CONNECT request that opens a tunnel to an https server."""

    @field_validator("proxy_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError(f"proxy_url {url.partition('://')[0]!r}: http and https proxies are supported")
        return url

    @model_validator(mode="after")
    def _check_proxy(self) -> Self:
        if self.proxy_from_environment and self.proxy_url:
            raise ValueError("if proxy_from_environment is configured, proxy_url must not be configured")
        if self.proxy_from_environment and self.no_proxy:
            raise ValueError("if proxy_from_environment is configured, no_proxy must not be configured")
        if self.no_proxy and not self.proxy_url:
            raise ValueError("if no_proxy is configured, proxy_url must also be configured")
        if self.proxy_connect_header and not (self.proxy_url or self.proxy_from_environment):
            raise ValueError(
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured"
            )
        return self


@dataclass(frozen=True, slots=True)
class Way:
    """How a request goes.

    Attributes:
        proxy: Through which proxy; None for none.
        tunnel: Headers for the proxy, of the request that opens a tunnel.
        request: Headers for the proxy that stand in the request itself, where there is no tunnel.
    """

    proxy: URL | None = None
    tunnel: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proxies:
    """Chooses the proxy of each request.

    Attributes:
        by_scheme: Proxy of requests with this scheme.
        exceptions: Who is asked directly; None for nobody, not even this machine.
        headers: Headers for the proxy.
    """

    by_scheme: Mapping[str, URL]
    exceptions: Exceptions | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: ProxyConfig, environment: Mapping[str, str] | None = None) -> Proxies:
        """Read the settings; `environment` is this process' own where it is not given."""
        headers = joined(config.proxy_connect_header)
        if config.proxy_from_environment:
            return cls._of_environment(os.environ if environment is None else environment, headers)
        if not config.proxy_url:
            return cls({})
        proxy = URL(config.proxy_url)
        exceptions = Exceptions.parse(config.no_proxy) if config.no_proxy else None
        return cls({"http": proxy, "https": proxy}, exceptions, headers)

    @classmethod
    def _of_environment(cls, environment: Mapping[str, str], headers: Mapping[str, str]) -> Proxies:
        def variable(name: str) -> str:
            return environment.get(name.upper()) or environment.get(name) or ""

        found = {scheme: variable(f"{scheme}_proxy") for scheme in ("http", "https")}
        proxies = {scheme: URL(url if "://" in url else f"http://{url}") for scheme, url in found.items() if url}
        return cls(proxies, Exceptions.parse(variable("no_proxy")), headers)

    def choose(self, url: URL) -> Way:
        """Return the way to `url`."""
        proxy = self.by_scheme.get(url.scheme)
        if proxy is None or (self.exceptions is not None and self.exceptions.hold(url.host or "", url.port or 0)):
            return Way()
        who = {}
        if proxy.user is not None:
            pair = f"{proxy.user}:{proxy.password or ''}".encode()
            who["Proxy-Authorization"] = "Basic " + base64.b64encode(pair).decode()
        if url.scheme == "https":
            return Way(proxy.with_user(None), {**self.headers, **who})
        return Way(proxy.with_user(None), request=who)


@dataclass(frozen=True, slots=True)
class Exceptions:
    """Hosts that are asked directly: those listed, and this machine.

    Attributes:
        everything: No host goes through a proxy.
        networks: Networks, each with a port or 0 for all.
        domains: Ends of host names with their dot, whether the domain itself is meant as well, and a port or 0.
    """

    everything: bool
    networks: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, int], ...]
    domains: tuple[tuple[str, bool, int], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list as in ``NO_PROXY``; parts that are no host are left out, as Go does.

        >>> Exceptions.parse("10.0.0.0/8, .lake.test").hold("a.lake.test", 80)
        True
        """
        everything, networks, domains = False, [], []
        for part in filter(None, (part.strip().lower() for part in text.split(","))):
            if part == "*":
                everything = True
                continue
            host, port = _split(part)
            try:
                networks.append((ipaddress.ip_network(host, strict=False), port))
                continue
            except ValueError:
                host = host.removeprefix("*")
            whole = not host.startswith(".")
            domains.append(("." + host if whole else host, whole, port))
        return cls(everything, tuple(networks), tuple(domains))

    def hold(self, host: str, port: int) -> bool:
        """Tell whether a host is asked directly."""
        host = host.lower().rstrip(".")
        if self.everything or host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            named = f".{host}"
            return any(
                ((named == domain and whole) or (named.endswith(domain) and named != domain)) and wanted in {0, port}
                for domain, whole, wanted in self.domains
            )
        return address.is_loopback or any(
            address in network and wanted in {0, port} for network, wanted in self.networks
        )


def joined(headers: Mapping[str, Iterable[Secret]]) -> dict[str, str]:
    """Return headers with the values of each in the open, in one line."""
    return {name: ", ".join(value.reveal() for value in values) for name, values in headers.items()}


def _split(part: str) -> tuple[str, int]:
    """Split ``host:port``; networks, and IPv6 addresses without brackets, have no port."""
    host, colon, port = part.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return part.strip("[]"), 0
