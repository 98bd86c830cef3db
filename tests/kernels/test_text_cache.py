"""The cache in front of dictionaries of texts."""

from __future__ import annotations

import random

import numpy as np

from headrace.kernels.buffers import padded
from headrace.kernels.text_cache_kernels import CELLS, cell_of, is_same
from headrace.pipeline.identity import Series
from headrace.pipeline.series import SeriesTable
from headrace.store.symbols import Symbols


def test_the_cell_depends_on_the_text_alone() -> None:
    """What stands before and behind a text does not matter, and every cell is in range."""
    dice = random.Random(1)
    for size in [*range(20), 100]:
        text = dice.randbytes(size)
        cells = {cell_of(padded(dice.randbytes(3) + text + dice.randbytes(9)), 3, size) for _ in range(20)}
        assert len(cells) == 1
        assert 0 <= cells.pop() < CELLS


def test_texts_are_compared_to_their_last_byte() -> None:
    """A difference in any byte is seen, one behind the end is not."""
    for size in range(20):
        text = bytes(range(1, size + 1))
        one = padded(b"x" + text + b"a")
        assert is_same(one, 1, padded(text + b"b"), 0, size)
        for at in range(size):
            other = bytearray(text)
            other[at] ^= 0x80
            assert not is_same(one, 1, padded(bytes(other)), 0, size)


def test_dictionaries_number_texts_as_a_dict_does() -> None:
    """Repeats near and far, short and long, many more than the cache has cells."""
    dice = random.Random(2)
    texts = [dice.choice("abc") * dice.randrange(12) + str(dice.randrange(3000)) for _ in range(6000)]
    expected: dict[str, int] = {}
    numbers = [expected.setdefault(text, len(expected)) for text in texts]

    data = "".join(texts).encode()
    sizes = np.array([len(text) for text in texts], np.int32)
    spans = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1).astype(np.int32)
    assert Symbols().intern_spans(padded(data), spans).tolist() == numbers

    table = SeriesTable()
    ids = table.intern([Series.of(__name__="m", value=text or "none") for text in texts])
    assert [table.series(i).labels[1][1] for i in ids.tolist()] == [text or "none" for text in texts]
