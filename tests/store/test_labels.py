"""Label sets as columns."""

from __future__ import annotations

import json
import random

from headrace.store.api.label_json import label_objects
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.symbols import Symbols


def some_sets(dice: random.Random) -> list[dict[str, str]]:
    names = ["__name__", "a", "b", "é", 'q"']
    values = ["", "", "x", "y", "xy", "\u00e4\n", "\U0001f600", 'a"b\\', "\udcff", "\x7f"]
    return [{name: dice.choice(values) for name in names} for _ in range(dice.randrange(60))]


def test_the_order_is_that_of_pairs() -> None:
    """Rows with labels missing anywhere are ordered as lists of pairs are; equal ones keep their order."""
    dice = random.Random(1)
    for _ in range(200):
        table = LabelTable.of(some_sets(dice), QuerySymbols(Symbols()))
        keys = [tuple(table.labels(row).items()) for row in range(len(table))]
        assert table.order().tolist() == sorted(range(len(keys)), key=keys.__getitem__)


def test_objects_are_those_of_the_library() -> None:
    """The JSON is what Python's encoder writes; what is not UTF-8 becomes the replacement character."""
    dice = random.Random(2)
    for _ in range(100):
        table = LabelTable.of(some_sets(dice), QuerySymbols(Symbols()))
        for row, written in enumerate(label_objects(table)):
            plain = json.dumps(table.labels(row), ensure_ascii=False, separators=(",", ":"))
            assert written == plain.replace("\udcff", "\ufffd").encode()
