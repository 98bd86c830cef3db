"""Check passwords against bcrypt hashes without stopping the event loop and without keeping a password.

bcrypt is slow on purpose: 50 ms and more. Each password is checked on a thread once; the answer is remembered under
an HMAC with a key of this process, so that memory holds nothing a password could be guessed from quickly. The hash is
part of what the HMAC covers, so a changed password file needs no invalidation.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from headrace.pipeline.errors import Refused

_CACHED = 4096
_WAITING = 64
"""Checks that may wait for the thread; more are refused, so that guessing cannot pile up work."""

_MAX_PASSWORD_BYTES = 72
"""bcrypt sees no more; a longer password is wrong rather than cut."""


class PasswordChecker:
    """Answers whether a password belongs to a hash."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._running: dict[bytes, asyncio.Future[bool]] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(10))
        self.checks = 0
        """How often bcrypt ran."""

    async def check(self, password: bytes, hashed: bytes | None) -> bool:
        """Return whether `password` has the bcrypt hash `hashed`.

        Args:
            password: As sent.
            hashed: Hash of the user; None for a user that does not exist, which takes as long to answer.

        Raises:
            Refused: Too many checks are waiting.
        """
        if len(password) > _MAX_PASSWORD_BYTES:
            return False
        against = hashed or self._nobody
        name = hmac.digest(self._key, b"%d:" % len(against) + against + password, hashlib.sha256)
        known = self._known.get(name)
        if known is None:
            known = await self._compute(name, password, against)
        else:
            self._known.move_to_end(name)
        return known and hashed is not None

    async def _compute(self, name: bytes, password: bytes, against: bytes) -> bool:
        running = self._running.get(name)
        if running is None:
            if len(self._running) >= _WAITING:
                raise Refused("too many passwords are being checked", 1)
            loop = asyncio.get_running_loop()
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "headrace-passwords")
            running = loop.run_in_executor(self._thread, bcrypt.checkpw, password, against)
            self._running[name] = running
            running.add_done_callback(lambda done: self._remember(name, done))
            self.checks += 1
        # Shielded: another request may wait for the same answer.
        return await asyncio.shield(running)

    def _remember(self, name: bytes, done: asyncio.Future[bool]) -> None:
        del self._running[name]
        if done.cancelled() or done.exception() is not None:
            return
        self._known[name] = done.result()
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)

    def close(self) -> None:
        """End the thread; safe twice."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
