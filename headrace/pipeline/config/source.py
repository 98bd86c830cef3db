"""YAML with the place of every value.

Core schema of YAML 1.2, as the Collector reads it: only ``true`` and ``false`` are booleans, dates stay text. Keys
that repeat are faults; aliases are bounded, so that a small file cannot become a large tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from headrace.pipeline.config.faults import ConfigFaults, Fault, Path, Place, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

MAX_BYTES = 4 << 20
MAX_VALUES = 200_000


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema's booleans and numbers."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9]+$|^0x[0-9a-fA-F]+$")
_NUMBER = r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
_FLOAT = re.compile(rf"{_NUMBER}|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _integer(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    return int(text, 16) if text.startswith("0x") else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


@dataclass(slots=True)
class Document:
    """A tree of plain values with the place of each.

    Attributes:
        value: The tree.
        places: Place of each value by path; of a key's value, the place of the key.
        texts: What was written, by path, where it was read as something else than text; settings that are text take
            this.
    """

    value: Any
    places: dict[Path, Place] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)

    def place(self, path: Path) -> Place | None:
        """Return the place of `path`, or of the nearest value above it."""
        for size in range(len(path), -1, -1):
            found = self.places.get(path[:size])
            if found is not None:
                return found
        return None

    def put(self, path: Path, inner: Document) -> None:
        """Take over the places and texts of `inner`, which stands at `path` from now on."""
        self.places.update({(*path, *at): place for at, place in inner.places.items() if at})
        self.texts.update({(*path, *at): text for at, text in inner.texts.items()})


def read(text: str, source: str) -> Document:
    """Read a YAML document.

    Raises:
        ConfigFaults: It is too large, no YAML, or has keys that repeat.
    """
    if len(text) > MAX_BYTES:
        raise ConfigFaults([Fault(Place(source), "", f"has {len(text)} bytes, more than {MAX_BYTES}")])
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        raise ConfigFaults([Fault(place, "", f"no YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigFaults([Fault(Place(source), "", f"no YAML: {error}")]) from None
    finally:
        loader.dispose()
    builder = _Builder(loader, source)
    document = Document(None, builder.places, builder.texts)
    if node is not None:
        document.value = builder.build(node, ())
    if builder.faults:
        raise ConfigFaults(builder.faults)
    return document


class _Builder:
    def __init__(self, loader: _Loader, source: str) -> None:
        self._loader = loader
        self._source = source
        self._values = 0
        self._open: list[yaml.Node] = []
        self.places: dict[Path, Place] = {}
        self.texts: dict[Path, str] = {}
        self.faults: list[Fault] = []

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._source, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._values += 1
        if self._values > MAX_VALUES or any(node is one for one in self._open):
            why = "an alias refers to itself" if self._values <= MAX_VALUES else f"has more than {MAX_VALUES} values"
            raise ConfigFaults([Fault(self._place(node), joined(path), why)])
        self.places.setdefault(path, self._place(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        try:
            found = self._loader.construct_object(node)
        except yaml.MarkedYAMLError as error:
            self.faults.append(Fault(self._place(node), joined(path), str(error.problem)))
            return None
        if found is not None and not isinstance(found, str):
            self.texts[path] = str(node.value)
        return found

    def _mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for one in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                    found = self.build(one, path)
                    merged = {**(found if isinstance(found, dict) else {}), **merged}
                continue
            name = str(key.value)
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:binary":
                self.faults.append(Fault(self._place(key), joined(path), "a key must be text"))
            elif name in out:
                self.faults.append(Fault(self._place(key), joined((*path, name)), "stands there twice"))
            else:
                self.places[(*path, name)] = self._place(key)
                out[name] = self.build(item, (*path, name))
        return {**merged, **out}


def merge(under: Document, over: Document) -> Document:
    """Lay one document over another: mappings merge key by key, all else is replaced."""
    replaced: set[Path] = set()
    value = _merge(under.value, over.value, (), replaced)
    places = {**_left(under.places, replaced), **over.places}
    return Document(value, places, {**_left(under.texts, replaced), **over.texts})


def _merge(under: Any, over: Any, path: Path, replaced: set[Path]) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        return {**under, **{key: _merge(under.get(key), one, (*path, key), replaced) for key, one in over.items()}}
    replaced.add(path)
    return over


def _left(known: Mapping[Path, T], replaced: set[Path]) -> dict[Path, T]:
    """Return what is known of paths that are not replaced, nor below one that is."""
    return {
        path: one for path, one in known.items() if not any(path[:size] in replaced for size in range(len(path) + 1))
    }
