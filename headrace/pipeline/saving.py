"""The states of stateful processors: to disk, from disk, and from one processor to its successor."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from headrace.pipeline.component import StatefulProcessor
from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.state import StateDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.pipeline.host import Host
    from headrace.pipeline.wiring import Place

_log = logging.getLogger("headrace.graph")


def restore(host: Host, place: Place) -> None:
    """Give the processor in a place what was saved of it, where it is stateful.

    Raises:
        StoreFailed: It does not fit, or cannot be read.
    """
    processor = place.step.processor
    if not isinstance(processor, StatefulProcessor):
        return
    state = host.services.get("state")
    if not isinstance(state, StateDirectory):
        _log.warning("%s starts anew at each start: service.state_directory is not set", place.name)
        return
    found = state.load(place.name)
    if found is not None:
        try:
            processor.restore(found)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreFailed(f"the saved state of {place.name} does not fit: {error}") from None


def save(host: Host, places: Iterable[Place]) -> None:
    """Save the states of the processors in some places; what cannot be written is told."""
    state = host.services.get("state")
    if not isinstance(state, StateDirectory):
        return
    for place in places:
        if isinstance(place.step.processor, StatefulProcessor):
            try:
                state.save(place.name, place.step.processor.snapshot())
            except StoreFailed as error:
                _log.error("%s", error)


def hand_over(old: Place, new: Place) -> bool:
    """Give what one processor knows to its successor; return whether it took it."""
    giver, taker = old.step.processor, new.step.processor
    if not (isinstance(giver, StatefulProcessor) and isinstance(taker, StatefulProcessor)):
        return False
    try:
        taker.restore(giver.snapshot())
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s starts anew: what it knew does not fit its new settings: %s", new.name, error)
        return False
    return True
