"""The table that finds a series by its raw key: inserting, and looking up batches of 2,000.

Compared with a Python dict that holds the same keys as bytes, in the same run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.key_table import KeyTable

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = 200_000
BATCH = 2_000


def run() -> dict[str, float]:
    """Return nanoseconds of CPU for each key."""
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**64, (KEYS, 2), np.uint64)
    numbers = np.arange(KEYS, dtype=np.int32)
    batches = [keys[rng.integers(0, KEYS, BATCH)] for _ in range(100)]
    KeyTable().insert(keys[:1], numbers[:1])
    table, plain = KeyTable(), dict[bytes, int]()

    insert_ns = cpu_ns(lambda: table.insert(keys, numbers)) / KEYS
    dict_insert_ns = cpu_ns(lambda: plain.update(zip(map(bytes, keys), numbers.tolist(), strict=True))) / KEYS
    table.lookup(batches[0])
    lookup_ns = cpu_ns(lambda: [table.lookup(batch) for batch in batches]) / (BATCH * len(batches))
    few = [list(map(bytes, batch)) for batch in batches[:10]]
    dict_lookup_ns = cpu_ns(lambda: [[plain.get(key, -1) for key in batch] for batch in few]) / (BATCH * len(few))
    return {
        "insert_ns_per_key": insert_ns,
        "lookup_ns_per_key": lookup_ns,
        "dict_insert_ns_per_key": dict_insert_ns,
        "dict_lookup_ns_per_key": dict_lookup_ns,
    }


def cpu_ns(work: Callable[[], object]) -> int:
    """Return the CPU time of this process that `work` takes."""
    began = time.process_time_ns()
    work()
    return time.process_time_ns() - began
