"""Looking up names for ``dns_sd_configs``.

Source:
    Prometheus, "Configuration", section dns_sd_config; resolv.conf(5) for ``search`` and ``ndots``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from headrace.pipeline.discovery.contract import ADDRESS, TargetGroup
from headrace.pipeline.discovery.polling import Backoff, DiscoveryFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.discovery.contract import DiscoverySettings
    from headrace.pipeline.discovery.dns import DnsSdConfig

_LOOKUP_S = 10.0
"""Time for one name, with all its search domains and servers."""

_DEFAULT_NDOTS = 1
_META = "__meta_dns_"


class DnsDiscovery:
    """Looks up the names of one ``dns_sd_config``.

    Args:
        settings: What the program gives.
        config: Settings.
        resolver: Makes the resolver of each look; by default as ``/etc/resolv.conf`` says now.
    """

    def __init__(
        self,
        settings: DiscoverySettings,
        config: DnsSdConfig,
        resolver: Callable[[], dns.asyncresolver.Resolver] = dns.asyncresolver.Resolver,
    ) -> None:
        self._report = settings.report
        self._config = config
        self._resolver = resolver
        self._interval_s = config.refresh_interval.total_seconds()

    async def run(self, publish: Callable[[Iterable[TargetGroup]], None]) -> None:
        """Publish a group for each name, until cancelled; a name that cannot be looked up keeps its group."""
        backoff = Backoff(self._interval_s)
        while True:
            found = await asyncio.gather(*map(self.look_up, self._config.names), return_exceptions=True)
            publish([group for group in found if isinstance(group, TargetGroup)])
            faults = [fault for fault in found if isinstance(fault, BaseException)]
            for fault in faults:
                if not isinstance(fault, DiscoveryFailed):
                    raise fault
            if not faults:
                backoff.reset()
            await asyncio.sleep(backoff.next_s() if faults else self._interval_s)

    async def look_up(self, name: str) -> TargetGroup:
        """Return the group of one name; without targets where the name does not exist.

        Raises:
            DiscoveryFailed: No server could tell.
        """
        try:
            async with asyncio.timeout(_LOOKUP_S):
                records = await self._records(name)
        except (dns.exception.DNSException, OSError) as error:  # TimeoutError is an OSError
            why = str(error) or f"no answer in {_LOOKUP_S:g} s"
            self._report.failed("lookup", f"could not resolve: {why}"[:500], name)
            raise DiscoveryFailed("lookup", why) from error
        self._report.succeeded(name)
        return TargetGroup(name, tuple(filter(None, (self._target(name, record) for record in records))))

    async def _records(self, name: str) -> list[Any]:
        """Return the records of the first of a name's candidates that has some."""
        resolver = await asyncio.to_thread(self._resolver)
        fault: dns.exception.DNSException | None = None
        for candidate in candidates(name, resolver.search, resolver.ndots):
            try:
                answer = await resolver.resolve(candidate, self._config.type, search=False, raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN:
                continue
            except dns.exception.DNSException as error:
                fault = error
                continue
            if answer.rrset:
                return list(answer.rrset)
        if fault is not None:
            raise fault
        return []

    def _target(self, name: str, record: Any) -> dict[str, str]:
        port, meta = self._config.port, {f"{_META}name": name}
        if record.rdtype == dns.rdatatype.SRV:
            host, port = str(record.target), record.port
            meta |= {f"{_META}srv_record_target": host, f"{_META}srv_record_port": str(port)}
        elif record.rdtype == dns.rdatatype.MX:
            host = meta[f"{_META}mx_record_target"] = str(record.exchange)
        elif record.rdtype == dns.rdatatype.NS:
            host = meta[f"{_META}ns_record_target"] = str(record.target)
        else:
            host = str(record.address)
        host = host.rstrip(".")
        return {ADDRESS: f"[{host}]:{port}" if ":" in host else f"{host}:{port}", **meta}


def candidates(name: str, search: list[dns.name.Name], ndots: int | None) -> list[dns.name.Name]:
    """Return the full names that a name may stand for, in the order in which they are tried.

    Raises:
        dns.exception.DNSException: It is no name.
    """
    relative = dns.name.from_text(name, None)
    if relative.is_absolute():
        return [relative]
    whole = relative.concatenate(dns.name.root)
    found = [relative.concatenate(domain) for domain in search]
    enough = name.count(".") >= (_DEFAULT_NDOTS if ndots is None else ndots)
    return [whole, *found] if enough else [*found, whole]
