"""Compile kernels before they are needed, with progress: the first time takes a minute, later ones read a cache."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.component import Factory

_WORTH_TELLING_S = 1.0


def warm_up(factories: Iterable[tuple[str, Factory[Any]]], tell: Callable[[str], None]) -> float:
    """Run the `warm_up` of each factory; return the seconds that it took."""
    began = time.monotonic()
    for kind, factory in factories:
        if factory.warm_up is None:
            continue
        started = time.monotonic()
        text = f"compiling the kernels of {kind}::{factory.name}; later starts read them from a cache"
        notice = threading.Timer(_WORTH_TELLING_S, tell, (text,))
        notice.start()
        factory.warm_up()
        notice.cancel()
        spent = time.monotonic() - started
        if spent > _WORTH_TELLING_S:
            tell(f"compiled the kernels of {kind}::{factory.name} in {spent:.1f} s")
    return time.monotonic() - began
