"""``${env:NAME}``, ``${file:PATH}`` and ``${yaml:TEXT}`` in configurations, by the Collector's rules.

A value that is one reference takes the type of what it stands for; a reference inside of text is text. ``$$`` is a
dollar sign. ``${NAME}`` is short for ``${env:NAME}``, and ``${env:NAME:-default}`` has a default. References in what a
reference stands for are left as they are.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.pipeline.config.faults import ConfigFaults, Fault, joined
from headrace.pipeline.config.source import MAX_BYTES, Document, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.pipeline.config.faults import Path

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)
_MAX_DEPTH = 20
_YAML = (".yaml", ".yml", ".json")


class _Content(NamedTuple):
    """What a reference stands for.

    Attributes:
        text: As it was written.
        document: As it was read.
        is_file: Whether its places are in a file, and not where the reference is.
    """

    text: str
    document: Document
    is_file: bool


class Substitution:
    """Replaces references in documents.

    Args:
        environment: Variables.
        read_file: Returns the text of a file.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        read_file: Callable[[str], str] | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._read_file = read_file or read_bounded
        self.warnings: list[str] = []

    def apply(self, document: Document) -> Document:
        """Return the document with all references replaced.

        Raises:
            ConfigFaults: Some cannot be.
        """
        faults: list[Fault] = []
        found = Document(None, dict(document.places), dict(document.texts))
        found.value = self._walk(document.value, (), found, faults)
        if faults:
            raise ConfigFaults(faults)
        return found

    def _walk(self, value: Any, path: Path, document: Document, faults: list[Fault]) -> Any:
        if isinstance(value, dict):
            return {key: self._walk(one, (*path, key), document, faults) for key, one in value.items()}
        if isinstance(value, list):
            return [self._walk(one, (*path, i), document, faults) for i, one in enumerate(value)]
        if not isinstance(value, str) or "$" not in value:
            return value
        place = document.place(path)
        try:
            found = self._expand(value, 0)
        except ConfigFaults as error:
            faults += error.faults
        except ValueError as error:
            faults.append(Fault(place, joined(path), str(error)))
        else:
            if not isinstance(found, _Content):
                return found
            places = found.document.places
            known = places if found.is_file or place is None else dict.fromkeys(places, place)
            document.put(path, replace(found.document, places=known))
            return found.document.value
        return None

    def _expand(self, text: str, depth: int) -> str | _Content:
        if depth > _MAX_DEPTH:
            raise ValueError("references refer to themselves")
        parts: list[str] = []
        position = 0
        while position < len(text):
            dollar = text.find("$", position)
            if dollar < 0:
                parts.append(text[position:])
                break
            if dollar > position:
                parts.append(text[position:dollar])
            if text.startswith("$$", dollar):
                parts.append("$")
                position = dollar + 2
            elif text.startswith("${", dollar):
                end = _closing(text, dollar + 2)
                found = self._resolve(text[dollar + 2 : end], depth)
                if dollar == 0 and end == len(text) - 1:
                    return found
                parts.append(found.text)
                position = end + 1
            else:
                parts.append("$")
                position = dollar + 1
        return "".join(parts)

    def _resolve(self, reference: str, depth: int) -> _Content:
        if "${" in reference:
            inner = self._expand(reference, depth + 1)
            reference = inner.text if isinstance(inner, _Content) else inner
        match = _SCHEME.fullmatch(reference)
        scheme, body = (match[1], match[2]) if match else ("env", reference)
        if scheme == "env":
            return _content(self.variable(body), scheme, body)
        if scheme == "yaml":
            return _content(body, scheme, body)
        if scheme != "file":
            raise ValueError(f"${{{scheme}:...}} is not supported (there: env, file, yaml)")
        try:
            text = self._read_file(body)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ValueError(f"file {body!r} cannot be read: {why}") from None
        return _content(text.rstrip("\n"), scheme, body)

    def variable(self, body: str) -> str:
        """Return a variable by its name, or ``NAME:-default``; empty, with a warning, where it is not set.

        Raises:
            ValueError: No variable can have the name.
        """
        name, colon, default = body.partition(":-")
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"environment variable {name!r} has an invalid name (write $${{{name}}} where the text is meant)"
            )
        value = self._environment.get(name)
        if value is None:
            if not colon:
                self.warnings.append(f"environment variable {name} is not set and has no default; it is empty")
            return default
        return value


def _closing(text: str, start: int) -> int:
    depth = 1
    for i in range(start, len(text)):
        if text.startswith("${", i):
            depth += 1
        elif text[i] == "}":
            depth -= 1
            if not depth:
                return i
    raise ValueError(f"{text[start - 2 :]!r} has no closing brace")


def _content(text: str, scheme: str, body: str) -> _Content:
    """Read what a reference stands for.

    Text is taken as it is, quotes and what looks like a comment included, and so is what is no YAML: it may be a
    password. A file whose name says that it is YAML has to be.

    Raises:
        ConfigFaults: It has to be, and is not.
    """
    is_file = scheme == "file"
    try:
        document = read(text, body)
    except ConfigFaults:
        if is_file and body.endswith(_YAML):
            raise
        document = Document(text)
    if isinstance(document.value, str) and scheme != "yaml":
        document.value = text
    else:
        document.texts[()] = text
    return _Content(text, document, is_file)


def read_bounded(path: str) -> str:
    """Read a file that a configuration refers to.

    Raises:
        OSError: It cannot be read, or is too large.
    """
    with FilePath(path).open("rb") as file:
        found = file.read(MAX_BYTES + 1)
    if len(found) > MAX_BYTES:
        raise OSError(f"it has more than {MAX_BYTES} bytes")
    return found.decode()
