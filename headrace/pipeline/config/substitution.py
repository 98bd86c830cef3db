"""``${env:NAME}``, ``${file:PATH}`` and ``${yaml:TEXT}`` in configurations, by the Collector's rules.

A value that is one reference takes the type of what it stands for; a reference inside of text is text. ``$$`` is a
dollar sign. ``${NAME}`` is short for ``${env:NAME}``, and ``${env:NAME:-default}`` has a default.
"""

from __future__ import annotations

import os
import re
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from headrace.pipeline.config.faults import ConfigFaults, Fault, joined
from headrace.pipeline.config.source import MAX_BYTES, Document, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.pipeline.config.faults import Path

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)
_MAX_DEPTH = 20


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
        value = self._walk(document.value, (), document, faults)
        if faults:
            raise ConfigFaults(faults)
        return Document(value, document.places)

    def _walk(self, value: Any, path: Path, document: Document, faults: list[Fault]) -> Any:
        if isinstance(value, dict):
            return {key: self._walk(one, (*path, key), document, faults) for key, one in value.items()}
        if isinstance(value, list):
            return [self._walk(one, (*path, i), document, faults) for i, one in enumerate(value)]
        if not isinstance(value, str) or "$" not in value:
            return value
        try:
            return self._expand(value, 0)
        except ValueError as error:
            faults.append(Fault(document.place(path), joined(path), str(error)))
            return None

    def _expand(self, text: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("references refer to themselves")
        parts: list[Any] = []
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
                whole = dollar == 0 and end == len(text) - 1
                parts.append(self._resolve(text[dollar + 2 : end], depth, whole=whole))
                if whole:
                    return parts[0]
                position = end + 1
            else:
                parts.append("$")
                position = dollar + 1
        return "".join(parts)

    def _resolve(self, reference: str, depth: int, *, whole: bool) -> Any:
        if "${" in reference:
            reference = str(self._expand(reference, depth + 1))
        match = _SCHEME.fullmatch(reference)
        scheme, body = (match[1], match[2]) if match else ("env", reference)
        if scheme == "env":
            text = self._variable(body)
        elif scheme == "file":
            try:
                text = self._read_file(body)
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"file {body!r} cannot be read: {error}") from None
        elif scheme == "yaml":
            text = body
        else:
            raise ValueError(f"${{{scheme}:...}} is not supported (there: env, file, yaml)")
        return _typed(text, f"${{{reference}}}") if whole else text.rstrip("\n")

    def _variable(self, body: str) -> str:
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


def _typed(text: str, source: str) -> Any:
    try:
        value = read(text, source).value
    except ConfigFaults:
        return text
    return value


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
