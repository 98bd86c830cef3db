"""Component contracts: what a receiver, a processor, an exporter and an extension are.

Life of every component:

* The constructor takes (settings, config) and does no I/O.
* ``start`` returns promptly; long work goes into tasks of the component's own. Exporters start first, receivers last.
* ``shutdown`` is safe before ``start`` and twice; it delivers what is buffered, and nothing is called after it.
  Receivers stop first.
* A component whose ``start`` raises keeps the daemon from starting.

Everything runs on one event loop. A processor is synchronous and has one caller, so it needs no locks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from headrace.pipeline.counters import Counters, Drops

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.config import ComponentConfig
    from headrace.pipeline.host import Host
    from headrace.pipeline.identity import Series
    from headrace.pipeline.outlets import Outlets


@dataclass(frozen=True)
class Settings:
    """What the program gives a component, beside its configuration.

    Attributes:
        kind: ``receivers``, ``processors``, ``exporters``, ``connectors`` or ``extensions``.
        id: ``type`` or ``type/name``.
        counters: All counters of the daemon.
        logger: Named after the component.
        clock_ns: Unix time in nanoseconds.
        monotonic_s: Seconds that never go back.
    """

    kind: str
    id: str
    counters: Counters
    logger: logging.Logger
    clock_ns: Callable[[], int] = time.time_ns
    monotonic_s: Callable[[], float] = time.monotonic
    drops: Drops = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "drops", Drops(self.counters, f"{self.kind}.{self.id}"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch, once every required exporter has answered.

    Attributes:
        points: Points of the batch as it was sent.
        rejected: Count of points that can never be delivered, by reason. Points that a processor dropped as it was
            told are not among them: they count as accepted.
        message: The first rejection in words, naming its series; empty without one.
        rejected_histograms: How many of the rejected points are native histograms.
        rejected_exemplars: Exemplars, which are no points, that can never be delivered.
        exemplar_message: The first of these in words.
    """

    points: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    message: str = ""
    rejected_histograms: int = 0
    rejected_exemplars: int = 0
    exemplar_message: str = ""

    @property
    def accepted(self) -> int:
        """Points that the sender may consider delivered."""
        return max(0, self.points - sum(self.rejected.values()))


class Sink(Protocol):
    """Where a receiver sends: all pipelines that name it."""

    async def send(self, batch: MetricBatch) -> Outcome:
        """Deliver `batch`; return when every required exporter has it at its durable point.

        Raises:
            Refused: Nothing has been processed; the sender may send it again later.
        """

    def check(self, points: int, size_bytes: int) -> None:
        """Raise `Refused` where a batch of this size would be refused now, before work is spent on decoding it."""


class Component(Protocol):
    """What all components have."""

    async def start(self, host: Host) -> None:
        """Begin to work."""

    async def shutdown(self) -> None:
        """Deliver what is buffered and stop."""


class Receiver(Component, Protocol):
    """Brings points in. Its factory's ``create`` takes (settings, config, sink)."""


class SeriesProcessor(Protocol):
    """Decides about series; the cheapest tier, for whatever depends on identity alone.

    Consecutive ones are fused: a batch costs one gather, however many there are.

    A processor that passes on every series of a Prometheus source as it is may say so by an attribute
    ``leaves_plain = True``; it is then not asked about those.
    """

    def admit(self, series: Series) -> Series | None:
        """Return the series to pass on (changed or not), or None to drop it.

        Called once for each new series, and the answer is remembered: it may depend on `series` and the
        configuration only.
        """


class ColumnProcessor(Protocol):
    """Changes batches."""

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch to pass on; the same object where nothing changed."""


@runtime_checkable
class StatefulProcessor(ColumnProcessor, Protocol):
    """A column processor whose state survives reload and restart."""

    def tick(self, now_ns: int) -> list[MetricBatch]:
        """Return batches that are due at `now_ns`; called about every second."""

    def snapshot(self) -> bytes:
        """Return the state, in terms of identities: ids of a table mean nothing to the successor."""

    def restore(self, state: bytes) -> None:
        """Take over a state that `snapshot` made; called before the first batch."""


@runtime_checkable
class Draining(Protocol):
    """A stateful processor that holds points back, and passes them on when it ends."""

    def drain(self, now_ns: int) -> list[MetricBatch]:
        """Return what is held back and is to be delivered before the end; called once, before the last snapshot."""


@runtime_checkable
class Deciding(Protocol):
    """A processor that has decisions to make about new series, which may be spread over several loop turns."""

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids that `decide` has to be called with before `process` may see `batch`."""

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Decide about some of the ids that `undecided` named."""


@runtime_checkable
class Limiter(Protocol):
    """A processor that may refuse batches before anything runs."""

    def admit_batch(self, points: int, size_bytes: int) -> None:
        """Raise `Refused` where there is no room for a batch of this size now."""


class Exporter(Component, Protocol):
    """Takes points out."""

    optional: bool
    """Whether receivers answer success without waiting for this exporter."""

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room for a batch.

        Raises:
            Refused: There is none now.
        """

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Take a batch for which room was granted; return at the durable point.

        Raises:
            Refused: It could not be taken after all, for instance because the disk failed.
        """


class Connector(Exporter, Protocol):
    """Ends some pipelines and begins others. Its factory's ``create`` takes (settings, config, outlets).

    ``reserve`` grants what the pipelines grant that a batch may go to, and ``deliver`` sends it into them; both by
    the outlets. A reload may change what the outlets lead to, between two batches.
    """


@runtime_checkable
class Inheriting(Protocol):
    """A component that takes over what its predecessor of the same id holds when its settings change in a reload."""

    async def take_over(self, predecessor: Any) -> None:
        """Move everything that `predecessor` was given and has not passed on, in order.

        Called before `start`, while no batch reaches either of them; `predecessor` is shut down afterwards.
        """


@runtime_checkable
class Succeeding(Receiver, Protocol):
    """A receiver that goes on with the work of its predecessor of the same id when its settings change in a reload."""

    def can_succeed(self, predecessor: Any) -> bool:
        """Return whether it can; otherwise it starts like others: beside its predecessor, or in its place."""

    async def start_after(self, host: Host, predecessor: Any) -> None:
        """Do all of `start` that may fail, in its place; `predecessor` works on, and is not changed.

        Raises:
            HeadraceError: It cannot start; it is shut down.
        """

    def succeed(self) -> None:
        """Take the work over; called between two batches. It must not fail. The predecessor is shut down afterwards."""

    async def leave(self) -> None:
        """Send what is to be sent at the end, as a reload has taken the receiver away; it is shut down afterwards."""


def is_exclusive(component: object) -> bool:
    """Return whether two instances of a component cannot run beside each other.

    A component says so by an attribute ``exclusive``, because both would open one file or directory. In a reload the
    old one is stopped before the new one starts.
    """
    return bool(getattr(component, "exclusive", False))


def restart_reason(component: object) -> str:
    """Return why settings of a component cannot change while the daemon runs; empty where they can.

    A component says so by an attribute ``needs_restart``.
    """
    return str(getattr(component, "needs_restart", ""))


class Reservation(Protocol):
    """Room that an exporter keeps for a batch."""

    def release(self) -> None:
        """Give the room back: the batch was delivered, or will not come. Safe to call twice."""


class NoReservation:
    """The reservation of an exporter that keeps no queue."""

    __slots__ = ()

    def release(self) -> None:
        """Do nothing."""


Processor = SeriesProcessor | ColumnProcessor

C = TypeVar("C", bound="ComponentConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory(Generic[C]):
    """How a type of component is made.

    Attributes:
        name: Type in configuration files, ``lower_snake_case``, equal to the module's name.
        config: Its configuration.
        stability: ``alpha``, ``beta`` or ``stable``.
        aliases: Other spellings that configuration files may use.
        warm_up: Compiles the kernels that the component needs, by calling each of them once.
    """

    name: str
    config: type[C]
    stability: str = "beta"
    aliases: tuple[str, ...] = ()
    warm_up: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverFactory(Factory[C]):
    """Makes receivers."""

    create: Callable[[Settings, C, Sink], Receiver]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorFactory(Factory[C]):
    """Makes processors; each pipeline gets one of its own."""

    create: Callable[[Settings, C], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterFactory(Factory[C]):
    """Makes exporters."""

    create: Callable[[Settings, C], Exporter]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorFactory(Factory[C]):
    """Makes connectors.

    Attributes:
        pipelines: Returns the ids of the pipelines that a configuration names, each with its place in it.
    """

    create: Callable[[Settings, C, Outlets], Connector]
    pipelines: Callable[[C], Iterable[tuple[tuple[str | int, ...], str]]] = lambda _config: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionFactory(Factory[C]):
    """Makes extensions."""

    create: Callable[[Settings, C], Component]
