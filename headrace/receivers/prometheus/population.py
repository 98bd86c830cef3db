"""From target groups to the targets of a job, again and again as groups come, change and go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.pipeline.discovery import ADDRESS
from headrace.receivers.prometheus.targets import Target, discovered_labels, target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.pipeline.discovery import TargetGroup
    from headrace.pipeline.relabel import Relabeler
    from headrace.receivers.prometheus.job import Job
    from headrace.receivers.prometheus.sharding import ShardingConfig
    from headrace.receivers.prometheus.targets import Pairs


@dataclass(frozen=True, slots=True)
class Population:
    """What became of the target groups of a job.

    Attributes:
        targets: Those to scrape, each once.
        dropped: Labels before relabelling of those that relabelling dropped, or that other daemons scrape.
        faults: Why addresses could not be made targets.
    """

    targets: tuple[Target, ...]
    dropped: tuple[Pairs, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Dropped:
    discovered: Pairs


Outcome = Target | _Dropped | str
"""What became of an address: a target, nothing by relabelling or sharding, or why it can be none."""


class Populator:
    """Makes the targets of a job: only groups that are others than the last time are worked out.

    Args:
        job: The job.
        relabeler: The job's ``relabel_configs``.
        sharding: Which of the targets other daemons scrape; None for none.
    """

    def __init__(self, job: Job, relabeler: Relabeler, sharding: ShardingConfig | None = None) -> None:
        self._job = job
        self._relabeler = relabeler
        self._sharding = sharding
        # By the address of the group, which stands beside it and so keeps the address from being used again.
        self._known: dict[int, tuple[TargetGroup, list[Outcome]]] = {}

    def populate(self, groups: Iterable[TargetGroup]) -> Population:
        """Return what becomes of target groups, which are not changed afterwards."""
        groups = list(groups)
        known = {id(group): self._known[id(group)] for group in groups if id(group) in self._known}
        before: dict[str, tuple[TargetGroup, list[Outcome]]] = {}
        if len(known) < len(groups):
            before = {group.source: (group, outcomes) for group, outcomes in self._known.values()}
        for group in groups:
            if id(group) not in known:
                known[id(group)] = group, self._outcomes(group, before.get(group.source))
        self._known = known
        return _gathered(known[id(group)][1] for group in groups)

    def _outcomes(self, group: TargetGroup, before: tuple[TargetGroup, list[Outcome]] | None) -> list[Outcome]:
        """Work out a group; targets that the one before had as well, under the same labels, are taken from it."""
        there: dict[Pairs, Outcome] = {}
        if before is not None and before[0].labels == group.labels:
            there = dict(zip((tuple(own.items()) for own in before[0].targets), before[1], strict=True))
        return [
            outcome if (outcome := there.get(tuple(own.items()))) is not None else self._outcome(group, own)
            for own in group.targets
        ]

    def _outcome(self, group: TargetGroup, own: Mapping[str, str]) -> Outcome:
        discovered = discovered_labels(self._job, {**group.labels, **own})
        relabelled = self._relabeler.apply(discovered)
        if relabelled is None:
            return _Dropped(discovered)
        try:
            target = target_of(self._job, discovered, dict(relabelled))
        except ValueError as error:
            return f"{own.get(ADDRESS, '')}: {error}"
        owned = self._sharding is None or self._sharding.owns(target.url)
        return target if owned else _Dropped(discovered)


def _gathered(found: Iterable[list[Outcome]]) -> Population:
    targets: dict[object, Target] = {}
    dropped: list[Pairs] = []
    faults: list[str] = []
    for outcomes in found:
        for outcome in outcomes:
            if isinstance(outcome, Target):
                targets.setdefault(outcome.identity, outcome)
            elif isinstance(outcome, _Dropped):
                dropped.append(outcome.discovered)
            else:
                faults.append(outcome)
    return Population(tuple(targets.values()), tuple(dropped), tuple(faults))
