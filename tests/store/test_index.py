"""The index against a dict: matchers as set algebra, removal, packing."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.store.index import Index, LabelSets
from headrace.store.labels import QuerySymbols
from headrace.store.matchers import Matcher, MatchType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.store.interfaces import Labels

NAMES = ["__name__", "a", "b", "c", "d"]
VALUES = ["", "x", "y", "xy", "yx", "x1", "x2", "zz"]
PATTERNS = ["", "x", "x|y", "x.*", ".*y", ".+", ".*", "x[0-9]", "(x|z).*", "nothing", ".*x.*", "x?"]


def matchers_of(dice: random.Random) -> list[Matcher]:
    found = []
    for _ in range(dice.randrange(4)):
        type_ = dice.choice(list(MatchType))
        value = dice.choice(PATTERNS if "REGEX" in type_.name else [*VALUES, "nothing"])
        found.append(Matcher(dice.choice([*NAMES, "e"]), type_, value))
    return found


def fulfils(labels: Labels, matcher: Matcher) -> bool:
    """Say it with Python's regular expressions, which mean the same for these patterns."""
    text = dict(labels).get(matcher.name, "")
    if matcher.type in {MatchType.EQUAL, MatchType.NOT_EQUAL}:
        return (text == matcher.value) is (matcher.type is MatchType.EQUAL)
    return bool(re.fullmatch(matcher.value, text, re.DOTALL)) is (matcher.type is MatchType.REGEX)


def label_sets(dice: random.Random, amount: int, wide: int) -> Iterator[Labels]:
    for _ in range(amount):
        labels = {name: dice.choice(VALUES) for name in NAMES}
        labels["__name__"] = f"m{dice.randrange(3)}"
        labels["a"] = f"x{dice.randrange(wide)}" if dice.random() < 0.7 else labels["a"]
        yield tuple(sorted((name, value) for name, value in labels.items() if value))


def check(index: Index, model: dict[int, Labels], dice: random.Random) -> None:
    check_selection(index, model, matchers_of(dice))
    # Asked again and again, so that what is remembered must not outlive the series that it is about.
    check_selection(index, model, [Matcher("__name__", MatchType.EQUAL, "m1"), Matcher("b", MatchType.REGEX, "x.*")])
    chosen = {ref for ref in model if dice.random() < dice.choice([0.0, 0.01, 0.5, 1.0])}
    for name in NAMES:
        assert index.values_with(name, lambda refs: np.isin(refs, list(chosen))) == sorted(
            {dict(model[ref])[name] for ref in chosen if name in dict(model[ref])}
        )


def check_selection(index: Index, model: dict[int, Labels], matchers: list[Matcher]) -> None:
    expected = sorted(ref for ref, labels in model.items() if all(fulfils(labels, one) for one in matchers))
    refs = index.select(matchers)
    assert refs.dtype == np.int32
    assert refs.tolist() == expected, matchers
    table = index.table(refs, QuerySymbols(index.symbols))
    assert [tuple(table.labels(row).items()) for row in range(len(table))] == [model[ref] for ref in expected]
    assert index.names(refs) == sorted({name for ref in expected for name, _ in model[ref]})
    for name in NAMES:
        assert index.values(name, refs) == sorted(
            {dict(model[ref])[name] for ref in expected if name in dict(model[ref])}
        )


@pytest.mark.parametrize("seed", range(8))
def test_histories_against_a_dict(seed: int) -> None:
    """Whatever was added, brought back from a log, removed and packed: every answer is that of a dict."""
    dice = random.Random(seed)
    index = Index()
    model: dict[int, Labels] = {}
    for _ in range(40):
        step = dice.random()
        if step < 0.6 or not model:
            wide = dice.choice([3, 3000])
            sets = list(label_sets(dice, dice.choice([1, 20, 400]), wide))
            refs = index.intern(LabelSets.of(sets)).tolist()
            known = {labels: ref for ref, labels in model.items()}
            for ref, labels in zip(refs, sets, strict=True):
                assert known.get(labels, ref) == ref
                assert model.setdefault(ref, labels) == labels
        elif step < 0.75:
            taken = set(model.values())
            sets = list(dict.fromkeys(s for s in label_sets(dice, 5, 3000) if s not in taken))
            wanted = dice.sample(range(index.next_ref, index.next_ref + 50), len(sets))
            index.intern(LabelSets.of(sets), np.array(wanted, np.int32))
            model.update(zip(wanted, sets, strict=True))
        else:
            gone = dice.sample(sorted(model), dice.randrange(len(model)))
            index.remove(np.array(sorted(gone), np.int32))
            model = {ref: labels for ref, labels in model.items() if ref not in set(gone)}
            if dice.random() < 0.5:
                index = index.packed()
        assert len(index) == len(model)
        for _ in range(4):
            check(index, model, dice)
    counts: dict[tuple[str, str], int] = {}
    for labels in model.values():
        for pair in labels:
            counts[pair] = counts.get(pair, 0) + 1
    assert {
        (name, index.symbols.text(symbol)): amount
        for name, symbols, amounts in index.cardinality()
        for symbol, amount in zip(symbols.tolist(), amounts.tolist(), strict=True)
    } == counts


def test_rows_behind_the_lists_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series that came after the lists were made are in every answer."""
    monkeypatch.setattr("headrace.store.column._MAX_TAIL", 4)
    dice = random.Random(1)
    index = Index()
    model: dict[int, Labels] = {}
    for _ in range(120):
        sets = list(label_sets(dice, dice.randrange(1, 4), 30))
        model.update(zip(index.intern(LabelSets.of(sets)).tolist(), sets, strict=True))
        check(index, model, dice)


def test_few_series_are_asked_about_where_few_will_do() -> None:
    """One of each value where all are there; all of a value, each once, where none is."""
    index = Index()
    index.intern(LabelSets.of([(("__name__", f"m{i % 3}"), ("i", str(i))) for i in range(3000)]))
    asked: list[int] = []

    def fulfil(refs: NDArray[np.int32], there: NDArray[np.bool_]) -> NDArray[np.bool_]:
        assert (np.diff(refs) > 0).all()
        asked.extend(refs.tolist())
        return there[refs]

    there = np.ones(3000, np.bool_)
    assert index.values_with("__name__", lambda refs: fulfil(refs, there)) == ["m0", "m1", "m2"]
    assert len(asked) == 3
    asked.clear()
    there[1::3] = False
    assert index.values_with("__name__", lambda refs: fulfil(refs, there)) == ["m0", "m2"]
    assert len(asked) == len(set(asked)) == 1002


def test_an_answer_may_be_written_to() -> None:
    """What `select` returns is nobody else's."""
    index = Index()
    index.intern(LabelSets.of([(("__name__", "m"), ("a", str(i))) for i in range(3)]))
    matcher = Matcher("__name__", MatchType.EQUAL, "m")
    index.select([matcher])[:] = 7
    assert index.select([matcher]).tolist() == [0, 1, 2]


def test_memory_is_counted() -> None:
    """Lists that a matcher has made are part of it, and so is the series that is remembered of it."""
    index = Index()
    index.intern(LabelSets.of([(("__name__", "m"), ("a", str(i))) for i in range(1000)]))
    before = index.memory_bytes()
    for i in range(8):
        index._column("a").having(i)  # type: ignore[union-attr]
    index.select([Matcher("a", MatchType.EQUAL, "5")])
    assert index.memory_bytes() == before + 4 * (1000 + 2 * 1000) + 4
