"""What a server's answer says about a request.

Source:
    Prometheus Remote-Write specification 1.0 and 2.0, "Retries and backoff", "Partial write", "Written statistics".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.http.client import Reply
    from headrace.pipeline.wire.remote_write_request import Encoded

_TOO_MANY = 429
_UNSUPPORTED_MEDIA = 415
_SERVER_ERRORS = 500
_NOT_ABOUT_THE_BODY = frozenset({401, 403, 404, 407})
_WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


class Fate(Enum):
    """What becomes of a request."""

    DONE = auto()
    """The server has it, save what `Verdict.lost` counts."""

    AGAIN = auto()
    """Send it again later."""

    NOT_SPOKEN = auto()
    """The server does not know the version: send it by 1.0."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means.

    Attributes:
        fate: What becomes of the request.
        lost: Points of it that the server will never take.
        why: In words; empty where all is well.
        reason: In a word, for the count of drops.
        speaks_2: Whether the answer shows that the server knows 2.0.
    """

    fate: Fate
    lost: int = 0
    why: str = ""
    reason: str = "rejected_by_server"
    speaks_2: bool = False


def judge(reply: Reply, encoded: Encoded, version: int, endpoint: str, *, speaks_2: bool) -> Verdict:
    """Return what an answer means.

    Args:
        reply: The answer.
        encoded: The request.
        version: Of the request.
        endpoint: For the message.
        speaks_2: Whether the server has shown that it knows 2.0.
    """
    why = f"{endpoint} answered {reply.status}: {reply.text}"
    if reply.status == _TOO_MANY or reply.status >= _SERVER_ERRORS:
        return Verdict(Fate.AGAIN, why=why)
    if version == 1:
        return Verdict(Fate.DONE) if reply.status < 300 else Verdict(Fate.DONE, encoded.points, why)
    done = written(reply.headers)
    if done is None and (reply.status == _UNSUPPORTED_MEDIA or not (speaks_2 or _is_about_access(reply.status))):
        # A server of 1.0 may answer anything to what it cannot read, even that all is well.
        return Verdict(Fate.NOT_SPOKEN, why=why)
    if done is None:
        return Verdict(Fate.DONE) if reply.status < 300 else Verdict(Fate.DONE, encoded.points, why)
    lost = max(0, encoded.samples - done[0]) + max(0, encoded.histograms - done[1])
    if reply.status < 300:
        missing = f"{endpoint} answered {reply.status} and has not written {lost} of {encoded.points} points"
        return Verdict(Fate.DONE, lost, missing if lost else "", "not_written_by_server", speaks_2=True)
    return Verdict(Fate.DONE, lost, why if lost else "", speaks_2=True)


def written(headers: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Return the samples, histograms and exemplars that a server has written, None where it does not say."""
    texts = [headers.get(_WRITTEN.format(what)) for what in ("Samples", "Histograms", "Exemplars")]
    if texts[0] is None and texts[1] is None:
        return None
    samples, histograms, exemplars = (int(text) if text and text.isdecimal() else 0 for text in texts)
    return samples, histograms, exemplars


def _is_about_access(status: int) -> bool:
    return status in _NOT_ABOUT_THE_BODY
