"""Whether a type has aliases at all: to ask pydantic for them costs a fifth of an item's JSON."""

from typing import Any, Final

__all__ = ["may_have_aliases"]

# Schemas that say all there is to know of how a value becomes JSON. Any other kind may do as it
# likes: `any` goes by the value's own type, a function may ask for `info.by_alias`.
_SIMPLE: Final = frozenset(
    (
        *("model", "model-fields", "model-field", "dataclass", "dataclass-args", "dataclass-field"),
        *("typed-dict", "typed-dict-field", "definitions", "definition-ref", "default", "nullable"),
        *("list", "tuple", "set", "frozenset", "dict", "union", "tagged-union", "literal"),
        *("none", "bool", "int", "float", "decimal", "str", "bytes", "date", "time", "datetime"),
        *("timedelta", "uuid"),
    )
)
_WITHIN: Final = (
    *("schema", "fields", "items_schema", "keys_schema", "values_schema", "extras_schema"),
    *("choices", "definitions", "computed_fields"),
)


def may_have_aliases(schema: Any) -> bool:
    """False if `by_alias` can make no difference to a value of this core schema."""
    if not isinstance(schema, dict) or schema.get("type") not in _SIMPLE:
        return True
    if "serialization_alias" in schema or "serialization" in schema:
        return True
    config = schema.get("config", {})
    if "allow" in (schema.get("extra_behavior"), config.get("extra_fields_behavior")):
        return True  # what is extra may be of any type
    return any(may_have_aliases(part) for key in _WITHIN for part in _parts(schema.get(key)))


def _parts(within: Any) -> Any:
    """The schemas in one place of another: one, several, or those of named fields."""
    if within is None:
        return ()
    if isinstance(within, dict):  # a field may be named "type"; its value is then no name of a kind
        return (within,) if isinstance(within.get("type"), str) else within.values()
    return (part[0] if isinstance(part, tuple) else part for part in within)
