"""Whether a request that is denied now was allowed a moment ago.

Senders drop what is answered 403 and keep what is answered 503. Credentials that are rotated late, or a policy that
is edited wrongly, therefore need not cost samples: for the time of ``auth_grace`` the answer is 503. It is never data.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = 65_536


class Asked(NamedTuple):
    """What was allowed.

    Attributes:
        access_key: Id of the key.
        action: Such as ``aps:RemoteWrite``.
        resource: ARN.
    """

    access_key: str
    action: str
    resource: str


class Grace:
    """Remembers what was allowed.

    Args:
        duration_s: How long; 0 turns it off.
        monotonic_s: Seconds that never go back.
        size: Entries that are remembered; those not used for longest go first.
    """

    def __init__(self, duration_s: float, monotonic_s: Callable[[], float], size: int = _SIZE) -> None:
        self._duration_s = duration_s
        self._monotonic_s = monotonic_s
        self._size = size
        self._allowed_s: OrderedDict[Asked, float] = OrderedDict()

    def allowed(self, asked: Asked) -> None:
        """Take note that `asked` is allowed now."""
        if not self._duration_s:
            return
        self._allowed_s[asked] = self._monotonic_s()
        self._allowed_s.move_to_end(asked)
        if len(self._allowed_s) > self._size:
            self._allowed_s.popitem(last=False)

    def covers(self, asked: Asked) -> bool:
        """Return whether `asked` was allowed less than the duration ago. Denials do not prolong it."""
        since_s = self._allowed_s.get(asked)
        return since_s is not None and self._monotonic_s() - since_s < self._duration_s
