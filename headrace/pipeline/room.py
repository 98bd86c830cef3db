"""A bounded amount of points and bytes in flight."""

from __future__ import annotations

from headrace.pipeline.errors import Refused


class Room:
    """Grants reservations up to a limit.

    Args:
        max_points: Points in flight.
        max_bytes: Bytes in flight.
    """

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self.max_points = max_points
        self.max_bytes = max_bytes
        self.points = 0
        self.bytes = 0

    def take(self, points: int, size_bytes: int) -> Granted:
        """Grant room; a batch larger than the limit is granted when nothing else is in flight.

        Raises:
            Refused: There is none now.
        """
        if self.points and (self.points + points > self.max_points or self.bytes + size_bytes > self.max_bytes):
            raise Refused(f"{self.points} points are in flight", 1)
        return self.hold(points, size_bytes)

    def hold(self, points: int, size_bytes: int) -> Granted:
        """Grant room whatever is in flight: for what was granted once and changes hands."""
        self.points += points
        self.bytes += size_bytes
        return Granted(self, points, size_bytes)


class Granted:
    """Room that was granted."""

    __slots__ = ("_bytes", "_points", "_room")

    def __init__(self, room: Room, points: int, size_bytes: int) -> None:
        self._room = room
        self._points = points
        self._bytes = size_bytes

    def release(self) -> None:
        """Give the room back; safe to call twice."""
        self._room.points -= self._points
        self._room.bytes -= self._bytes
        self._points = self._bytes = 0
