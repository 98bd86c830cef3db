"""Targets from DNS: ``dns_sd_configs``.

Source:
    Prometheus, "Configuration", section dns_sd_config.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.discovery.contract import DiscoveryFactory
from headrace.pipeline.prometheus_http import NUMBERS_ARE_TEXTS
from headrace.pipeline.prometheus_values import PositiveDuration

if TYPE_CHECKING:
    from headrace.pipeline.discovery.contract import Discovery, DiscoverySettings


class DnsSdConfig(ComponentConfig):
    """Names whose records are targets."""

    model_config = NUMBERS_ARE_TEXTS

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names to look up."""

    type: Literal["SRV", "A", "AAAA", "MX", "NS"] = "SRV"
    """Records to ask for."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the targets; SRV records bring their own."""

    refresh_interval: PositiveDuration = timedelta(seconds=30)
    """How often the names are looked up."""

    @field_validator("type", mode="before")
    @classmethod
    def _take_any_case(cls, type_: Any) -> Any:
        return type_.upper() if isinstance(type_, str) else type_

    @model_validator(mode="after")
    def _check_port(self) -> Self:
        if self.type != "SRV" and not self.port:
            raise ValueError("a port is required in DNS-SD configs for all record types except SRV")
        return self


def _create(settings: DiscoverySettings, config: DnsSdConfig) -> Discovery:
    # Here, so that only who asks for it loads the resolver, which takes a tenth of a second.
    from headrace.pipeline.discovery.dns_lookup import DnsDiscovery

    return DnsDiscovery(settings, config)


FACTORY = DiscoveryFactory(name="dns", config=DnsSdConfig, create=_create)
