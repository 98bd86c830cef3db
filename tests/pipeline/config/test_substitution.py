"""References in configurations."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.source import read
from headrace.pipeline.config.substitution import Substitution

ENVIRONMENT = {"NAME": "value", "NUMBER": "12", "LIST": "[a, b]", "EMPTY": "", "OTHER": "NAME"}
FILES = {"secret": "s3cret\n", "map": "a: 1\nb: [2]\n"}


def resolve(text: str) -> Any:
    document = read(f"key: {text}", "f.yaml")
    return Substitution(ENVIRONMENT, FILES.__getitem__).apply(document).value["key"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:NAME}", "value"),
        ("${NAME}", "value"),
        ("${env:NUMBER}", 12),
        ("port-${env:NUMBER}", "port-12"),
        ("${env:LIST}", ["a", "b"]),
        ("${env:NONE}", None),
        ("a${env:NONE}b", "ab"),
        ("${env:NONE:-5s}", "5s"),
        ("${env:NONE:-${env:NAME}}", "value"),
        ("${env:EMPTY:-x}", None),
        ("${file:map}", {"a": 1, "b": [2]}),
        ("Bearer ${file:secret}", "Bearer s3cret"),
        ("'${yaml:[1, 2]}'", [1, 2]),
        ("$${env:NAME}", "${env:NAME}"),
        ("$$1", "$1"),
        ("$1", "$1"),
        ("a$", "a$"),
        ("${${env:OTHER}}", "value"),
    ],
)
def test_values(text: str, value: object) -> None:
    """A whole value has the type of what it stands for; inside of text there is text."""
    assert resolve(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${1}", "environment variable '1' has an invalid name (write $${1} where the text is meant)"),
        ("${http://x}", "${http:...} is not supported (there: env, file, yaml)"),
        ("${env:NAME", "'${env:NAME' has no closing brace"),
    ],
)
def test_faults(text: str, why: str) -> None:
    """They name the place."""
    with pytest.raises(ConfigFaults) as caught:
        resolve(text)
    assert str(caught.value) == f"f.yaml:1:1: key: {why}"


def test_variables_that_are_not_set_are_told() -> None:
    """A forgotten variable becomes nothing, and a warning."""
    substitution = Substitution({})
    substitution.apply(read("a: ${env:GONE}", "f.yaml"))
    assert substitution.warnings == ["environment variable GONE is not set and has no default; it is empty"]
