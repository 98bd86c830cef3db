"""The outcome of a trial, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.cli.plan.tally import Comparison


@dataclass(slots=True)
class Report:
    """All that was found.

    Attributes:
        batches: Batches of the traffic.
        samples: Samples in it.
        lasted_s: Seconds between the first and the last.
        compared_with: What stands for before: ``received``, or ``present``, the configuration that runs.
        receivers: Samples by receiver.
        exporters: What changes, by keys such as ``exporters.debug``.
        dropped: Samples that processors drop, by component and reason.
        unheard: Samples by receiver that no pipeline of the new configuration names.
        blind: Components with other settings whose effect does not show here.
    """

    compared_with: str
    batches: int = 0
    samples: int = 0
    lasted_s: float = 0.0
    receivers: dict[str, int] = field(default_factory=dict)
    exporters: dict[str, Comparison] = field(default_factory=dict)
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    unheard: dict[str, int] = field(default_factory=dict)
    blind: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        found = asdict(self)
        found["dropped"] = [
            {"component": component, "reason": reason, "samples": samples}
            for (component, reason), samples in self.dropped.items()
        ]
        return found

    def lines(self, most: int) -> Iterator[str]:
        """Yield lines of text.

        Args:
            most: Metrics to name for each exporter.
        """
        of = ", ".join(f"receivers.{name}" for name in self.receivers)
        yield f"traffic: {self.batches} batches, {self.samples} samples in {self.lasted_s:.0f} s, from {of or 'nobody'}"
        yield f"before: {'what was received' if self.compared_with == 'received' else 'the present configuration'}"
        for name, one in self.exporters.items():
            yield from _exporter(name, one, most)
        if self.dropped:
            yield "dropped by processors"
        for (component, reason), samples in sorted(self.dropped.items()):
            yield f"  {component}: {reason}: {samples} samples"
        for name, samples in self.unheard.items():
            yield f"receivers.{name}: no pipeline names it: {samples} samples would not be received"
        for name in self.blind:
            yield f"{name} has other settings: what that changes does not show here"


def _exporter(name: str, one: Comparison, most: int) -> Iterator[str]:
    (series, samples), (series_after, samples_after) = one.before, one.after
    yield f"{name}: series {series} -> {series_after}, samples {samples} -> {samples_after}"
    for fate, share in one.fates.items():
        yield f"  {fate:<8} {share.series:>9} series  {share.samples_before:>11} -> {share.samples_after} samples"
        for before, after in share.examples:
            yield f"           {' -> '.join(filter(None, (before, after)))}"
    ranked = sorted(one.metrics.items(), key=lambda item: (-abs(item[1][1] - item[1][0]), -item[1][0], item[0]))
    if ranked:
        yield "  series by metric, most changed first"
    for metric, (before_, after_) in ranked[:most]:
        yield f"  {before_:>9} -> {after_:<9} {metric}"
    if len(ranked) > most:
        yield f"  and {len(ranked) - most} metrics more"
