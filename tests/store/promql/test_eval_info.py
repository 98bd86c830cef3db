"""The function ``info``: which info series are found, and what becomes of their labels."""

from __future__ import annotations

import pytest

from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.language.parser import ParserOptions
from headrace.store.promql.values import Vector
from headrace.testing.store_fakes import MemoryQueryable

MINUTE_MS = 60_000


@pytest.fixture
def store() -> MemoryQueryable:
    store = MemoryQueryable()
    times = [0, MINUTE_MS]
    store.add({"__name__": "m", "job": "j", "instance": "a", "own": "x"}, times, [1.0, 2.0])
    store.add({"__name__": "m", "job": "j", "instance": "b"}, times, [3.0, 4.0])
    store.add({"__name__": "m"}, times, [5.0, 6.0])
    store.add({"__name__": "target_info", "job": "j", "instance": "a", "own": "y", "v": "1"}, [0], [1.0])
    store.add({"__name__": "target_info", "job": "j", "instance": "a", "own": "y", "v": "2"}, [MINUTE_MS], [1.0])
    store.add({"__name__": "build_info", "job": "j", "instance": "a", "rev": "abc"}, times, [1.0, 1.0])
    store.add({"__name__": "target_info", "lonely": "yes"}, times, [1.0, 1.0])
    return store


def ask(store: MemoryQueryable, query: str) -> dict[str, list[float | None]]:
    """Return the values at both minutes by labels without ``job``."""
    options = EvaluatorOptions(parser=ParserOptions(experimental_functions=True))
    vector = Evaluator(store, options).range(query, 0, MINUTE_MS, MINUTE_MS).value
    assert isinstance(vector, Vector)
    return {
        " ".join(f"{k}={v}" for k, v in vector.labels.labels(row).items() if k not in {"job", "__name__"}): [
            value if there else None for value, there in zip(vector.values[row], vector.present[row], strict=True)
        ]
        for row in range(len(vector))
    }


def test_the_newest_info_series_gives_its_labels(store: MemoryQueryable) -> None:
    """Labels that a series has already stay; a series without an info series stays as it is."""
    assert ask(store, "info(m)") == {
        "instance=a own=x v=1": [1.0, None],
        "instance=a own=x v=2": [None, 2.0],
        "instance=b": [3.0, 4.0],
        "": [5.0, 6.0],
    }


def test_a_selector_chooses_labels_and_drops_what_has_none(store: MemoryQueryable) -> None:
    """A matcher that wants a value leaves the others out; one that takes the empty one keeps them."""
    assert ask(store, "info(m, {v='2'})") == {"instance=a own=x v=2": [None, 2.0]}
    assert set(ask(store, "info(m, {v=~'.*'})")) == set(ask(store, "info(m)"))
    assert ask(store, "info(m, {own='y'})") == {"instance=a own=x": [1.0, 2.0]}


def test_info_metrics_are_chosen_by_name(store: MemoryQueryable) -> None:
    """All that match give labels, and are themselves left as they are."""
    assert ask(store, "info(m{instance='a'}, {__name__='build_info'})") == {"instance=a own=x rev=abc": [1.0, 2.0]}
    assert ask(store, "info(build_info, {__name__=~'.+_info'})") == {"instance=a rev=abc": [1.0, 1.0]}
    assert ask(store, "info(m{instance='a'}, {__name__!='target_info'})") == {"instance=a own=x rev=abc": [1.0, 2.0]}


def test_the_time_of_the_series_is_the_time_of_the_info(store: MemoryQueryable) -> None:
    """``@`` and ``offset`` of the first argument hold for the info series too."""
    assert ask(store, "info(m{instance='a'} @ 0)") == {"instance=a own=x v=1": [1.0, 1.0]}
    assert ask(store, "info(last_over_time(m{instance='a'}[1m:1m] offset 1m))") == {"instance=a own=x v=1": [None, 1.0]}


def test_two_that_are_equally_new_are_an_error(store: MemoryQueryable) -> None:
    """Nothing says which of them is right."""
    store.add({"__name__": "target_info", "job": "j", "instance": "a", "v": "3"}, [0], [1.0])
    with pytest.raises(ExecutionError, match=r"^found duplicate series for info metric: .*v=\"1\".*v=\"3\""):
        ask(store, "info(m)")


def test_two_metrics_that_disagree_are_an_error(store: MemoryQueryable) -> None:
    """The label is named."""
    store.add({"__name__": "build_info", "job": "j", "instance": "b", "v": "1"}, [0], [1.0])
    store.add({"__name__": "target_info", "job": "j", "instance": "b", "v": "2"}, [0], [1.0])
    with pytest.raises(ExecutionError, match=r"^conflicting label: v$"):
        ask(store, "info(m, {__name__=~'.+_info'})")
