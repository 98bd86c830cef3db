"""Regular expressions as automata: the same answers as RE2."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from headrace.kernels.jit import DISABLED
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import regex
from headrace.store import automaton_kernels, symbols_kernels
from headrace.store.automaton import automaton
from headrace.store.symbol_matches import SymbolMatches
from headrace.store.symbols import Symbols

ATOMS = [
    *"abksKS-1.^${}]é😀", "ab", "[a-c]", "[^a]", r"\d", r"\w", r"\s", r"\D", r"\W", "[k-t]", "[^k]", "[à-ö]", r"\.",
    "[a-]", "[]a]", "[^]]", r"[\d_]", r"[\w.-]", "[\u0430-\u044f😀]", r"\n", r"\pL", r"\b", "[[:alpha:]]", "x{0}",
    r"\x41", "(?i:a)", "(?P<n>a)", r"[\d-z]", r"\Qa\E",
]  # fmt: skip
OPERATORS = ["", "", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?", "??", "{0,2}"]
LETTERS = [*"abcksKSABx-17. \n_]éöüя", "\u017f", "\u212a", "😀", "\udc80", "\uffff", "\0"]

PATTERNS = 300 if DISABLED else 6000
TEXTS = 40 if DISABLED else 60


def pattern(dice: random.Random, depth: int = 3) -> str:
    kind = dice.random()
    if depth == 0 or kind < 0.4:
        return f"{dice.choice(ATOMS)}{dice.choice(OPERATORS)}"
    parts = [pattern(dice, depth - 1) for _ in range(dice.randrange(1, 4))]
    if kind < 0.6:
        return "".join(parts)
    if kind < 0.8:
        return f"{dice.choice(['(', '(?:'])}{'|'.join(parts)}){dice.choice(OPERATORS)}"
    return "|".join(parts)


def dictionary(texts: list[str]) -> tuple[Symbols, np.ndarray]:
    symbols = Symbols()
    return symbols, np.unique(np.array([symbols.intern(text) for text in texts], np.int32))


def test_random_patterns_on_random_texts() -> None:
    """Hundreds of thousands of pairs: an automaton, where there is one, answers as RE2 does."""
    dice = random.Random(5)
    texts = ["", *("".join(dice.choice(LETTERS) for _ in range(dice.randrange(1, 7))) for _ in range(4000))]
    symbols, ids = dictionary(texts)
    compared = 0
    for _ in range(PATTERNS):
        text = ("(?i)" if dice.random() < 0.3 else "") + pattern(dice)
        try:
            matches = regex(text).matches_bytes
        except InvalidInput:
            continue
        own = automaton(text)
        if own is None:
            continue
        some = np.sort(np.array(dice.sample(ids.tolist(), TEXTS), np.int32))
        expected = [bool(matches(symbols.raw(i))) for i in some.tolist()]
        assert own.matches(*symbols.arrays, some).tolist() == expected, text
        compared += TEXTS
    assert compared > (2_000 if DISABLED else 150_000)


@pytest.mark.parametrize(
    "text",
    [
        "foo.*",
        "a|b|c",
        "(a|b).*",
        ".*foo.*",
        ".*foo",
        "fo+",
        "(?i)FOO.*",
        "",
        ".+",
        "foo.+bar",
        "f.o",
        "(foo|bar)-[0-9]+",
    ],
)  # fmt: skip
def test_every_way_to_match_agrees(text: str) -> None:
    """Byte comparison, automaton, RE2 and memory give one answer, for few values and for many."""
    dice = random.Random(6)
    texts = ["", "foo", "FOO", "foobar", "a", "b", "ab", "f\no", "é", "foo-1", "bar-22"]
    texts += ["".join(dice.choice("foba-1") for _ in range(dice.randrange(1, 9))) for _ in range(3000)]
    symbols, ids = dictionary(texts)
    matches = regex(text).matches_bytes
    expected = [bool(matches(symbols.raw(i))) for i in ids.tolist()]
    asked = SymbolMatches(symbols)
    assert asked.of(text, ids[:50]).tolist() == expected[:50]
    assert asked.memory_bytes() == 0
    for _ in range(2):
        assert asked.of(text, ids).tolist() == expected
    assert asked.of(text, ids[:50]).tolist() == expected[:50]


@pytest.mark.parametrize(
    "text", ["(a|b)*a(a|b){12}", "a{1000}", "(a{0,100}b{0,100}){20}", "[^a]{300}", "((((a{10}){10}){10}){10})"]
)
def test_large_automata_are_not_made(text: str) -> None:
    """Patterns with thousands of states are left to RE2, which says no to some of them itself."""
    try:
        regex(text)
    except InvalidInput:
        return
    assert automaton(text) is None


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is let go of once it is too much."""
    monkeypatch.setattr("headrace.store.symbol_matches._MAX_BYTES", 5000)
    symbols, ids = dictionary([str(i) for i in range(1000)])
    asked = SymbolMatches(symbols)
    for digit in range(10):
        assert asked.of(f"{digit}.*", ids).sum() == (1 if digit == 0 else 111)
        assert asked.memory_bytes() <= 5000


@pytest.mark.skipif(DISABLED, reason="nothing is compiled")
def test_every_pattern_runs_on_the_same_machine_code() -> None:
    """No pattern makes a query wait for a compilation: each kernel is compiled for one set of types."""
    symbols, ids = dictionary([f"foo-{i}" for i in range(2000)])
    for text in ("foo.*", ".*foo", ".*o-1.*", ".+", "foo.*7", "(foo|bar)-[0-9]", "a|b"):
        SymbolMatches(symbols).of(text, ids)
    kernels: list[Any] = [symbols_kernels.affixed, automaton_kernels.accepted]
    assert [len(kernel.signatures) for kernel in kernels] == [1, 1]
