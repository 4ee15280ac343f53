"""A simple value that is valid for a JSON Schema: the same for the same schema."""

import math
from typing import Any, Final

_DEEPEST: Final = 40
_FORMATS: Final = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "name@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def value_of(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """Return a value that is valid for a schema, as far as its keywords are simple.

    Args:
        schema: a JSON Schema. `pattern`, `not` and conditions are not looked at.
        root: the schema that `$ref` is looked up in; the schema itself by default.
        depth: how many schemas it is inside of.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None if depth > _DEEPEST else "text"
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    if schema.get("examples"):
        return schema["examples"][0]
    for several in ("anyOf", "oneOf"):
        if choices := schema.get(several):
            rest = {name: value for name, value in schema.items() if name != several}
            chosen = _least(choices, root) if depth > 4 else choices[0]
            return value_of(_merged([rest, _resolved(chosen, root)]), root, depth + 1)
    match _type_of(schema, depth):
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, depth)
        case "integer":
            return int(_number(schema, 1))
        case "number":
            return _number(schema, 0)
        case "boolean":
            return True
        case "null":
            return None
    return _string(schema)


def _resolved(schema: Any, root: Any) -> dict[str, Any]:
    """Return a schema with what its `$ref` and `allOf` name."""
    seen = 0
    while isinstance(schema, dict) and ("$ref" in schema or "allOf" in schema) and seen < _DEEPEST:
        seen += 1
        rest = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
        others = list(schema.get("allOf") or [])
        if "$ref" in schema:
            others.append(_referenced(str(schema["$ref"]), root))
        schema = _merged([rest, *others])
    return schema if isinstance(schema, dict) else {}


def _referenced(pointer: str, root: Any) -> Any:
    value = root
    for name in pointer.removeprefix("#").strip("/").split("/"):
        if name:
            name = name.replace("~1", "/").replace("~0", "~")
            value = value.get(name, {}) if isinstance(value, dict) else {}
    return value


def _merged(schemas: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for schema in schemas:
        for name, value in schema.items() if isinstance(schema, dict) else ():
            if name == "properties" and name in merged:
                value = {**value, **merged[name]}
            elif name in ("required", "allOf") and name in merged:
                value = [*merged[name], *value]
            elif name in merged and name not in ("$ref",):
                continue
            merged[name] = value
    return merged


def _least(choices: list[Any], root: Any) -> Any:
    """Return the choice that ends soonest, so that a schema that contains itself has an end."""
    simple = (c for c in choices if _type_of(_resolved(c, root), 0) not in ("object", "array"))
    return next(simple, choices[0])


def _type_of(schema: dict[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if depth > 4 and "null" in kind else next(iter(kind), None)
    if kind is None:
        kinds = {"properties": "object", "items": "array", "prefixItems": "array"}
        kinds |= {"minimum": "number", "maximum": "number", "required": "object"}
        kind = next((kind for name, kind in kinds.items() if name in schema), "string")
    return str(kind)


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required", list(properties))
    return {name: value_of(properties.get(name, {}), root, depth + 1) for name in required}


def _array(schema: dict[str, Any], root: Any, depth: int) -> list[Any]:
    values = [value_of(item, root, depth + 1) for item in schema.get("prefixItems") or ()]
    least = schema.get("minItems", 1 if depth < 4 else 0)
    if schema.get("items") is False:
        return values
    item = schema.get("items", {})
    kind = _resolved(item, root)
    if schema.get("uniqueItems") and kind.get("enum"):
        return list(kind["enum"])[: max(least, 1)]
    while len(values) < min(least, schema.get("maxItems", least)):
        value = value_of(item, root, depth + 1)
        if schema.get("uniqueItems") and value in values:
            if isinstance(value, str):
                value = f"{value}{len(values)}"
            elif isinstance(value, int | float):
                value = value + len(values) * (kind.get("multipleOf") or 1)
        values.append(value)
    return values


def _number(schema: dict[str, Any], whole: int) -> float:
    step = schema.get("multipleOf") or 1
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    unit = step if whole or schema.get("multipleOf") else 0
    if low is not None or above is not None:
        value = max(v for v in (low, above) if v is not None)
        value = math.ceil(value / unit) * unit if unit else value
        if above is not None and value <= above:
            value += unit or ((_below(below, high, above) - above) / 2)
        return value if whole or unit else float(value)
    if high is not None or below is not None:
        value = min(v for v in (high, below) if v is not None)
        value = min(value, step) if value >= step else value
        value = math.floor(value / unit) * unit if unit else value
        if below is not None and value >= below:
            value -= unit or 1
        return value if whole or unit else float(value)
    return step if whole or unit else 1.0


def _below(below: float | None, high: float | None, above: float) -> float:
    return min((v for v in (below, high) if v is not None), default=above + 2)


def _string(schema: dict[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "text")
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", len(text)))
    text += "x" * (least - len(text))
    return text[: max(most, least)]
