"""Which kinds of discovery there are: our own, and those of installed packages."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pydantic import SerializeAsAny, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.discovery.contract import DiscoveryFactory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

BUILT_IN = ("file", "http", "dns", "kubernetes")
"""Our own; each is the module of its name. ``static_configs`` need no looking for."""

GROUP = "headrace.discoveries"
"""Entry points of other kinds."""

OTHER = "other_sd_configs"
"""Field of a scrape job that holds the settings of kinds that packages offer."""

Offered = dict[str, tuple[SerializeAsAny[ComponentConfig], ...]]
"""Type of that field: settings by kind."""


def find_kind(name: str) -> DiscoveryFactory[Any] | None:
    """Return a kind of discovery; None without one.

    Raises:
        ValueError: A package offers it, and does not load.
    """
    if name in BUILT_IN:
        found = importlib.import_module(f"{__package__}.{name}").FACTORY
    elif (point := _offered().get(name)) is not None:
        try:
            found = point.load()
        except Exception as error:
            raise ValueError(f"{name}_sd_configs: plugin {point.value} does not load: {error}") from error
    else:
        return None
    if not isinstance(found, DiscoveryFactory):
        raise ValueError(f"{name}_sd_configs: plugin offers a {type(found).__name__}, not a DiscoveryFactory")
    return found


def kinds() -> list[str]:
    """Return the names of all kinds."""
    return sorted({*BUILT_IN, *_offered()})


@cache
def _offered() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def configured(job: Any) -> list[tuple[DiscoveryFactory[Any], ComponentConfig]]:
    """Return kind and settings of each discovery that a scrape job asks for."""
    asked = {kind: getattr(job, f"{kind}_sd_configs", ()) for kind in BUILT_IN} | getattr(job, OTHER)
    return [(_kind(kind), config) for kind, configs in asked.items() for config in configs]


def gather_offered(options: Any) -> Any:
    """Return the options of a scrape job with those of offered kinds read, under `OTHER`.

    Raises:
        PydanticCustomError: One of them is not as the kind wants it; option and field are named.
        ValueError: A package does not load.
    """
    if not isinstance(options, dict):
        return options
    if OTHER in options:
        raise PydanticCustomError("unsupported", "not supported: {name}", {"name": OTHER})
    own, found = {}, {}
    for name, value in options.items():
        kind = name.removesuffix("_sd_configs") if isinstance(name, str) and name.endswith("_sd_configs") else ""
        factory = find_kind(kind) if kind in _offered() and kind not in BUILT_IN else None
        if factory is None:
            own[name] = value
        elif value is not None:
            found[kind] = _read(name, factory, value)
    return {**own, OTHER: found} if found else own


def _kind(name: str) -> DiscoveryFactory[Any]:
    factory = find_kind(name)
    if factory is None:
        raise AssertionError(f"bug: settings of {name} discovery without the kind")
    return factory


def _read(name: str, factory: DiscoveryFactory[Any], value: Any) -> tuple[ComponentConfig, ...]:
    try:
        return TypeAdapter(tuple[factory.config, ...]).validate_python(value)  # type: ignore[name-defined]  # known when it runs
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, (name, *one['loc'])))}: {one['msg']}" for one in error.errors()]
        raise PydanticCustomError("discovery", "{faults}", {"faults": "; ".join(faults)}) from None
