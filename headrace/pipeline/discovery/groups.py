"""Target groups as users write them: in ``static_configs``, in files, and in answers of HTTP servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.discovery.contract import TargetGroup
from headrace.pipeline.prometheus_http import NUMBERS_ARE_TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping


class TargetGroupConfig(ComponentConfig):
    """Addresses that share labels."""

    model_config = NUMBERS_ARE_TEXTS

    targets: tuple[str, ...] = ()
    """Addresses, such as ``127.0.0.1:9100``."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of their series."""

    @field_validator("targets", mode="before")
    @classmethod
    def _take_nothing(cls, targets: Any) -> Any:
        return () if targets is None else targets

    @field_validator("labels", mode="before")
    @classmethod
    def _take_no_labels(cls, labels: Any) -> Any:
        return {} if labels is None else labels

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            if "/" in target:
                raise ValueError(f'"{target}" is not a valid hostname: give host:port without a scheme or a path')
        return targets

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        return check_labels(labels)

    def group(self, source: str, labels: Mapping[str, str] | None = None) -> TargetGroup:
        """Return the group, with the labels that tell where it comes from."""
        return TargetGroup.of(source, self.targets, {**self.labels, **(labels or {})})


def read_groups(content: Any) -> tuple[TargetGroupConfig, ...]:
    """Read a list of target groups.

    Args:
        content: What JSON or YAML held.

    Raises:
        ValueError: It is none; number and field are named.
    """
    if not isinstance(content, list):
        raise ValueError("no list of target groups")
    groups = []
    for number, entry in enumerate(content):
        try:
            groups.append(TargetGroupConfig.model_validate(entry))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"target group {number + 1}: {where}: {first['msg']}") from None
    return tuple(groups)


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    """Return `labels`.

    Raises:
        ValueError: A name or a value cannot be a label's.
    """
    for name, value in labels.items():
        if not name or not _is_text(name):
            raise ValueError(f"{name!r} is not a valid label name")
        if not _is_text(value):
            raise ValueError(f"{value!r} is not a valid label value")
    return labels


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
