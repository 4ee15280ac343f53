"""Items as a fold sees them: of the declared classes, live or back from their JSON."""

import contextlib
import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from math import nan
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic_core import SchemaSerializer, SchemaValidator

_CONSTANTS: Final[Any] = {"ser_json_inf_nan": "constants"}
_OPAQUE: Final = ("serialization", "config", "metadata", "cls", "function")
_CLASSES_OF: Final = ("model", "dataclass", "typed-dict")
_CLASSES: Final = ("model-fields", "dataclass-args", "typed-dict")
_BOTH_WAYS: Final = {"ser_json_bytes": "val_json_bytes", "ser_json_temporal": "val_temporal_unit"}
_UNITS: Final = ("utf8", "base64", "hex", "seconds", "milliseconds")


def classes_of(schema: Any) -> frozenset[type]:
    """Return the models and dataclasses of which a core schema is made."""
    if isinstance(schema, list | tuple):
        return frozenset().union(*map(classes_of, schema))
    if not isinstance(schema, dict):
        return frozenset()
    cls = schema.get("cls")
    of_parts = classes_of([part for key, part in schema.items() if key != "metadata"])
    if schema.get("type") in ("model", "dataclass") and isinstance(cls, type):
        return of_parts | {cls}
    return of_parts


def narrowed(item: Any, classes: Set[type]) -> Any:
    """Return a valid item with instances of subclasses as instances of the declared classes."""
    if type(item) in classes:
        return item
    if isinstance(item, dict):
        copied = copy.copy(item)
        copied.update((key, narrowed(part, classes)) for key, part in item.items())
        return copied
    if isinstance(item, list | tuple | set | frozenset | deque | Iterator):
        parts = [narrowed(part, classes) for part in item]
        if isinstance(item, Iterator):  # pydantic's, of an Iterable
            return parts
        if hasattr(item, "_make"):  # a NamedTuple
            return item._make(parts)
        return deque(parts, item.maxlen) if isinstance(item, deque) else type(item)(parts)
    for base in type(item).__mro__:
        if base in classes and issubclass(base, BaseModel):
            values = {name: getattr(item, name) for name in base.model_fields}
            return base.model_construct(item.model_fields_set & values.keys(), **values)
        if base in classes and dataclasses.is_dataclass(base):
            made = object.__new__(base)
            for field in dataclasses.fields(base):
                object.__setattr__(made, field.name, getattr(item, field.name))
            return made
    return item


def reader_of(adapter: TypeAdapter[Any], options: Mapping[str, Any]) -> Callable[[bytes], Any]:
    """Return the function that makes an item from the JSON that the adapter made of it.

    The JSON of a valid item need not be valid input: it has serialization aliases and computed
    fields, NaN is null, bytes may be Base64. The reader takes all of these.

    Args:
        adapter: the type of the items.
        options: the `response_model_*` options with which they were serialised.

    Raises:
        TypeError: the JSON does not contain the whole item.
    """
    for name in ("include", "exclude"):
        if name in options:
            raise TypeError(f"response_model_{name} removes fields")
    schema = _Reading(options).of(adapter.core_schema)
    with _without_their_own(schema):
        return SchemaValidator(schema).validate_json


def exact_writer_of(adapter: TypeAdapter[Any]) -> Callable[..., bytes]:
    """Return the function that makes JSON of valid items with NaN and infinities, not null."""
    schema = _with_constants(adapter.core_schema)
    with _without_their_own(schema):
        return SchemaSerializer(schema, _CONSTANTS).to_json


def _with_constants(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(map(_with_constants, schema))
    if not isinstance(schema, dict):
        return schema
    made = {
        key: value if key in _OPAQUE else _with_constants(value) for key, value in schema.items()
    }
    config = schema.get("config") or {}
    if schema.get("type") in _CLASSES_OF and config.get("ser_json_inf_nan", "null") == "null":
        made["config"] = {**config, **_CONSTANTS}
    return made


@contextlib.contextmanager
def _without_their_own(schema: Any) -> Iterator[None]:
    """Let pydantic-core not use the validators and serializers that models have themselves."""
    models = [cls for cls in classes_of(schema) if vars(cls).get("__pydantic_complete__") is True]
    try:
        for cls in models:
            type.__setattr__(cls, "__pydantic_complete__", False)
        yield
    finally:
        for cls in models:
            type.__setattr__(cls, "__pydantic_complete__", True)


class _Reading:
    """The change of a core schema into one that reads its own JSON."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._by_alias = options.get("by_alias", True)
        self._without_none = options.get("exclude_none", False)
        self._config: Mapping[str, Any] = {}  # of the class that is read

    def of(self, schema: Any, where: str = "the item", *, optional: bool = False) -> Any:
        """Return the changed schema. `where` names the place in errors; Raises as `reader_of`."""
        if isinstance(schema, list | tuple):
            return type(schema)(self.of(part, where, optional=optional) for part in schema)
        if not isinstance(schema, dict):
            return schema
        kind = schema.get("type")
        if isinstance(cls := schema.get("cls"), type) and kind in ("model", "dataclass"):
            where = cls.__name__
        outer = self._config
        if isinstance(config := schema.get("config"), dict):
            self._config, schema = config, {**schema, "config": _reading(config)}
        _check(schema, where)
        nullable = kind == "nullable" or (optional and kind == "union")
        made = {
            key: value
            if key in _OPAQUE
            else self._fields(value, where)
            if key == "fields" and kind in _CLASSES
            else self.of(value, where, optional=nullable)
            for key, value in schema.items()
        }
        config, self._config = self._config, outer
        nan_is_null = config.get("ser_json_inf_nan", "null") == "null"
        if kind == "float" and nan_is_null and not optional and made.get("allow_inf_nan", True):
            read = {"type": "no-info", "function": lambda value: nan if value is None else value}
            made = {"type": "nullable", "schema": made}
            return {"type": "function-after", "function": read, "schema": made}
        if kind == "json":
            return made.get("schema", {"type": "any"})  # parsed already, and written as it is
        if kind == "tagged-union" and isinstance(made["discriminator"], str):
            choices = [choice for choice in made["choices"].values() if isinstance(choice, dict)]
            return {"type": "union", "choices": choices}  # the tag may have another alias
        if computed := made.pop("computed_fields", None):
            extra = made.get("extra_behavior") or config.get("extra_fields_behavior")
            return self._without(made, computed, extra)
        return made

    def _fields(self, fields: Any, where: str) -> Any:
        """Return the fields of a class under the names that they have in its JSON."""
        if isinstance(fields, list):  # of a dataclass
            return [self._field(field, field["name"], where) for field in fields]
        return {name: self._field(field, name, where) for name, field in fields.items()}

    def _field(self, field: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
        where = f"{where}.{name}"
        if field.get("serialization_exclude") or "serialization_exclude_if" in field:
            raise TypeError(f"{where} is excluded")
        made = {**field, "schema": self.of(field["schema"], where)}
        alias = field.get("serialization_alias") if self._by_alias else None
        made["validation_alias"] = name if alias is None else alias
        if self._without_none and _may_be_none(field["schema"]):
            made["schema"] = {"type": "default", "schema": made["schema"], "default": None}
        return made

    def _without(self, schema: dict[str, Any], computed: Any, extra: Any) -> dict[str, Any]:
        """Return the schema of a class that ignores its computed fields, which are in the JSON."""
        if extra != "allow":
            return {**schema, "extra_behavior": "ignore"}
        names = {
            (each.get("alias") if self._by_alias else None) or each["property_name"]
            for each in computed
        }

        def strip(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            return {name: value[name] for name in value if name not in names}

        changed = {"type": "no-info", "function": strip}
        return {"type": "function-before", "function": changed, "schema": schema}


def _reading(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a class for reading what it writes."""
    made = dict(config)
    for written, read in _BOTH_WAYS.items():
        if config.get(written) in _UNITS:
            made[read] = config[written]
    return made


def _check(schema: Mapping[str, Any], where: str) -> None:
    """Raise TypeError if the values of a schema are not in their JSON."""
    keys = schema.get("keys_schema") or {}
    if keys.get("type") in ("tuple", "list", *_CLASSES, "model", "dataclass"):
        raise TypeError(f"{where} has keys of several values, which its JSON joins")
    how = schema.get("serialization")
    if not isinstance(how, dict) or how.get("type") == "to-string":
        return
    function = how.get("function")
    name = getattr(function, "__name__", "")
    if "secret" in name:
        raise TypeError(f"{where} is a secret, which its JSON hides")
    module = getattr(function, "__module__", None) or type(function).__module__
    if not module.startswith(("pydantic.", "operator")):
        raise TypeError(f"{where} has a serializer of its own")


def _may_be_none(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "nullable" and "default" not in schema
