"""The JSON Schema of whole configurations, for editors and checks, made of the models that the daemon reads with.

A configuration is checked before its references are replaced, so that a text with ``${`` in it may stand for a number
or a truth value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.cli.registry import ALIASES, BUILT_IN
from headrace.pipeline.config.service import ServiceConfig

if TYPE_CHECKING:
    from pydantic import BaseModel

    from headrace.cli.registry import ComponentRegistry

_REFERENCE = {"type": "string", "pattern": r"\$\{"}
_PLAIN = {"integer", "number", "boolean"}


def schema(registry: ComponentRegistry) -> dict[str, Any]:
    """Return the schema of configurations with all types of components that there are."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {
        kind: {"type": ["object", "null"], "patternProperties": {}, "additionalProperties": False} for kind in BUILT_IN
    }
    for kind, factory in registry.all():
        others = [name for (where, name), type_ in ALIASES.items() if (where, type_) == (kind, factory.name)]
        names = "|".join(dict.fromkeys((factory.name, *factory.aliases, *others)))
        body = _model(factory.config, f"{kind}.{factory.name}", definitions)
        properties[kind]["patternProperties"][f"^({names})(/.+)?$"] = {"anyOf": [body, {"type": "null"}]}
    properties["service"] = _model(ServiceConfig, "service", definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Headrace",
        "type": "object",
        "properties": properties,
        "required": ["service"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _model(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a model; the models in it go into `definitions`, under names that nothing else has."""
    body = model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
    for name, one in body.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = _with_references(one)
    found: dict[str, Any] = _with_references(body)
    return found


def _with_references(node: Any) -> Any:
    """Let references stand where a plain value is not a text."""
    if isinstance(node, list):
        return [_with_references(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: value if key in {"default", "examples"} else _with_references(value) for key, value in node.items()}
    kind = made.get("type")
    if not isinstance(kind, str) or kind not in _PLAIN:
        return made
    notes = {key: made.pop(key) for key in ("title", "description", "default") if key in made}
    return {**notes, "anyOf": [made, dict(_REFERENCE)]}
