"""Which label values a regular expression matches, remembered per pattern and value.

Literals, alternations, prefixes, suffixes and infixes are compared as bytes. Other patterns run as finite automata;
those whose automaton would be large, or that have what is rare, go to RE2, and so do few values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.regex import regex
from headrace.store.automaton import automaton
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.symbols import Symbols

_MAX_PATTERNS = 256
_MAX_BYTES = 64 << 20
"""Of answers that are remembered, one byte for a value and pattern."""

_FEW = 256
"""Values that are asked about without remembering anything, where nothing is remembered of the pattern yet."""

_AUTOMATON_FROM = 1000
"""Values for which making an automaton pays."""

_SPECIAL = re.compile(r"[\\+?()|\[\]{}^$]")

_UNKNOWN = 0
_NO = 1
_YES = 2


class SymbolMatches:
    """Answers for one dictionary; safe on any thread, because what is computed twice comes out the same."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._known: dict[str, NDArray[np.uint8]] = {}

    def of(self, pattern: str, symbols: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of `symbols`, (k,) int32, the whole of `pattern` matches, (k,) bool.

        Raises:
            InvalidInput: The pattern is not RE2.
        """
        if not len(symbols):
            return np.zeros(0, np.bool_)
        if len(symbols) < _FEW and pattern not in self._known:
            return self._decide(pattern, symbols)
        known = grown(self._known.get(pattern, np.zeros(1, np.uint8)), int(symbols[-1]) + 1)
        unknown = symbols[known[symbols] == _UNKNOWN]
        if len(unknown):
            known[unknown] = np.where(self._decide(pattern, unknown), _YES, _NO)
        others = sum(len(one) for name, one in tuple(self._known.items()) if name != pattern)
        if len(self._known) >= _MAX_PATTERNS or others + len(known) > _MAX_BYTES:
            self._known = {}
        self._known[pattern] = known
        fulfilled: NDArray[np.bool_] = known[symbols] == _YES
        return fulfilled

    def _decide(self, pattern: str, symbols: NDArray[np.int32]) -> NDArray[np.bool_]:
        compiled = regex(pattern)
        if compiled.literals is not None:
            return self._among(compiled.literals, symbols)
        affixes = _affixes(pattern)
        if affixes is not None:
            return self._symbols.affixed(symbols, *affixes)
        if len(symbols) >= _AUTOMATON_FROM:
            own = automaton(pattern)
            if own is not None:
                return own.matches(*self._symbols.arrays, symbols)
        matches = compiled.matches_bytes
        return np.fromiter(map(bool, map(matches, self._symbols.raws(symbols))), np.bool_, len(symbols))

    def memory_bytes(self) -> int:
        """Return the bytes that the answers take."""
        return sum(map(len, tuple(self._known.values())))

    def _among(self, literals: frozenset[str], symbols: NDArray[np.int32]) -> NDArray[np.bool_]:
        wanted = [found for text in literals if (found := self._symbols.find(text)) != ABSENT]
        chosen: NDArray[np.bool_] = np.isin(symbols, wanted)
        return chosen


def _affixes(pattern: str) -> tuple[bytes, bytes, bytes, int] | None:
    """Take apart a pattern of literals and ``.*`` or ``.+``: prefix, infix, suffix, fewest bytes; None for others."""
    for wild in (".*", ".+"):
        parts = pattern.split(wild)
        if 2 <= len(parts) <= 3 and not any(_SPECIAL.search(p) or "." in p or "*" in p for p in parts):
            if len(parts) == 3 and wild == ".+":
                return None
            prefix, *inner, suffix = (part.encode() for part in parts)
            least = len(prefix) + len(suffix) + sum(map(len, inner)) + (wild == ".+")
            return prefix, (inner or [b""])[0], suffix, least
    return None
