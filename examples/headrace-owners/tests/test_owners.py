"""The ``owners`` processor."""

from typing import Any, ClassVar

import pytest
from headrace_owners.processor import FACTORY, OwnersConfig

from headrace.testing.batches import make_batch, rows
from headrace.testing.processors import ProcessorContract

OWNERS = {"shop_.*": "shop", ".*_bytes": "platform"}


class TestContract(ProcessorContract):
    """Everything that holds for any processor holds for this one."""

    factory = FACTORY
    config: ClassVar[dict[str, Any]] = {"owners": OWNERS}


class Dropping(TestContract):
    """Used by a test below."""

    config: ClassVar[dict[str, Any]] = {"owners": OWNERS, "drop_unowned": True}


def names(contract: ProcessorContract, *series: Any) -> list[str]:
    batch = contract.run(contract.make(), make_batch(series))
    return [name for name, _, _ in rows(batch)]


def test_the_first_pattern_decides() -> None:
    """A pattern has to fit the whole name."""
    found = names(TestContract(), "shop_bytes", "free_bytes", "my_shop_")
    assert found == ['shop_bytes{owner="shop"}', 'free_bytes{owner="platform"}', "my_shop_"]


def test_a_label_that_is_there_stays() -> None:
    """Who set it knows better."""
    assert names(TestContract(), {"__name__": "shop_a", "owner": "me"}) == ['shop_a{owner="me"}']


def test_what_nobody_owns_can_be_dropped() -> None:
    """The others pass."""
    assert names(Dropping(), "shop_a", "other") == ['shop_a{owner="shop"}']


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"owners": {"(": "a"}}, "is no regular expression"),
        ({"owners": {}, "default": "a", "drop_unowned": True}, "no meaning"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], why: str) -> None:
    """They are refused when the configuration is read."""
    with pytest.raises(ValueError, match=why):
        OwnersConfig.model_validate(settings)
