"""The item type that an annotation declares: T of `AsyncIterator[T]`, however it is spelt."""

import contextlib
import dataclasses
import sys
import types
import typing
from collections import abc
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo
from starlette.responses import Response
from typing_extensions import TypeAliasType, is_typeddict

_ITERATORS: Final = (
    *(abc.AsyncIterable, abc.AsyncIterator, abc.AsyncGenerator),
    *(abc.Iterable, abc.Iterator, abc.Generator),
)
_LISTS: Final = (
    *(list, tuple, set, frozenset),
    *(abc.Sequence, abc.MutableSequence, abc.Collection, abc.Set, abc.MutableSet),
)
_GIVING: Final[dict[Any, int]] = {  # what gives an iterator, and which of its arguments that is
    abc.Awaitable: 0,
    abc.Coroutine: -1,
    contextlib.aclosing: 0,
    contextlib.AbstractAsyncContextManager: 0,
    contextlib.AbstractContextManager: 0,
}
_ALIASES: Final = tuple({TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)})

_METHODS: Final = (
    *(("__aiter__", False), ("__anext__", True)),
    *(("__iter__", False), ("__next__", True)),
)
"""The methods whose return annotations say what a class yields, and whether it is the item."""


class NotItems(TypeError):
    """An annotation is not one of an iterator of items."""


def item_type_of(returns: Any) -> Any:
    """Return the item type of a return annotation with resolved names.

    Type aliases, generic ones too, `Annotated`, `Optional`, NewTypes, bounded type variables, and
    classes that are or implement an iterator are read. A bare `AsyncIterator` is one of `Any`.

    Raises:
        NotItems: it is not the annotation of an iterator.
    """
    if returns is Any:
        return Any
    found = _elements(returns, (*_ITERATORS, *_LISTS))
    if found is None:
        raise NotItems(f"{_shown(returns)} does not say what the items are")
    if (get_origin(found) or found) in (*_ITERATORS[:3], abc.Iterator):
        found = _elements(found, _ITERATORS)  # of a function under `(async)contextmanager`
    return plain(found)


def kinds_of(returns: Any) -> list[Any]:
    """Return the classes that a return annotation names: of unions, aliases and awaitables, too."""
    if (value := _expanded(returns)) is not None:
        return kinds_of(value)
    origin, arguments = get_origin(returns), get_args(returns)
    if origin is Annotated:
        return kinds_of(arguments[0])
    if origin in (Union, types.UnionType):
        return [kind for member in arguments for kind in kinds_of(member)]
    if origin in (abc.Awaitable, abc.Coroutine):
        return kinds_of(arguments[-1])
    return [origin or returns]


def plain(annotation: Any) -> Any:
    """Return an annotation without the type alias around it, so that its type can be seen."""
    expanded = annotation
    while (value := _expanded(expanded)) is not None:
        expanded = value
    if isinstance(expanded, TypeVar):
        bound = _bound(expanded)
        if bound is None:
            raise NotItems(f"the type variable {expanded} has no bound")
        return plain(bound)
    return expanded


def elements_of(model: Any, item: Any) -> Any:
    """Return the item type that a route's `response_model` declares.

    It is T of `list[T]` and similar types, of a RootModel of one, and of a model, dataclass or
    TypedDict whose only field is `data: list[T]`, the shape of a batch; so is a dict of lists, if
    the items are no dicts. Any other type is the type of an item, as is a list if the items are
    lists.

    Args:
        model: the `response_model`.
        item: the item type of the generator's annotation; `Any` if it has none.

    Raises:
        NotItems: the items of a stream cannot have what the type demands of a list, or cannot be
            of the type.
    """
    model = plain(model)
    if model == item or (isinstance(item, type) and isinstance(model, type) and _is(item, model)):
        return model
    if _elements(item, _LISTS) is not None and _depth(model) <= _depth(item):
        return model
    found = _elements(model, (*_ITERATORS, *_LISTS), strict=True)
    if found is not None:
        return _checked(plain(found), item, model)
    mapping = _mapping_in(model)
    if mapping is not None and not is_typeddict(mapping):
        return _checked(_of_mapping(mapping, model, item), item, model)
    if dataclasses.is_dataclass(model) or is_typeddict(model):
        fields = typing.get_type_hints(model, include_extras=True)
        found = _elements(fields["data"], _LISTS, strict=True) if {*fields} == {"data"} else None
        return _checked(model if found is None else plain(found), item, model)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return model
    name = "root" if issubclass(model, RootModel) else "data"
    field = model.model_fields.get(name)
    found = None if field is None else _elements(field.annotation, _LISTS)
    if field is None or found is None:
        return model
    if len(model.model_fields) > 1 or field.metadata or _has_code(model):
        raise NotItems(
            f"response_model={_shown(model)} is more than a list of items: give a fold that returns"
            f" it, or annotate the generator as AsyncIterator[{_shown(model)}] if it is an item"
        )
    return plain(found)


def _of_mapping(mapping: Any, model: Any, item: Any) -> Any:
    """Return the item type under a `response_model` that is a mapping: itself, or its lists' T."""
    arguments = get_args(mapping)
    values = plain(arguments[-1]) if arguments else Any
    yields_mappings = _yields_mappings(item)
    if values in (Any, object) and not yields_mappings:
        return item  # any batch is such a dict
    found = _elements(values, _LISTS, strict=True)
    if found is None or yields_mappings:
        return model
    if yields_mappings is None:
        raise NotItems(
            f"response_model={_shown(model)} may be the batch or an item: annotate the generator, "
            f"as AsyncIterator[{_shown(plain(found))}] or as AsyncIterator[{_shown(model)}]"
        )
    return plain(found)


def _checked(found: Any, item: Any, model: Any) -> Any:
    """Return the item type under a `response_model`. Raises NotItems if no item can be of it."""
    if _mapping_in(found) is not None and _yields_mappings(item) is False:
        raise NotItems(
            f"response_model={_shown(model)} takes dicts, but the items are {_shown(item)}: give "
            "the route the type of the items, or annotate the generator with what it yields"
        )
    return found


def _mapping_in(annotation: Any) -> Any:
    """Return a mapping or a TypedDict without what is around it; None if the type is neither."""
    annotation = plain(annotation)
    if get_origin(annotation) is Annotated:
        return _mapping_in(get_args(annotation)[0])
    if isinstance(annotation, type) and _is(annotation, RootModel):
        return _mapping_in(annotation.model_fields["root"].annotation)  # type: ignore[attr-defined]
    cls = get_origin(annotation) or annotation
    is_mapping = is_typeddict(cls) or (isinstance(cls, type) and _is(cls, abc.Mapping))
    return annotation if is_mapping else None


def _yields_mappings(item: Any) -> bool | None:
    """Return whether some items of a type are mappings; None if the type does not say it."""
    kinds = kinds_of(item)
    if any(_mapping_in(kind) is not None for kind in kinds):
        return True
    unknown = (Any, object, abc.Iterable, abc.Collection)
    return None if any(not isinstance(k, type) or k in unknown for k in kinds) else False


def filled_for(fold: Any, items: Any, item: Any) -> Any:
    """Return a fold's return annotation with the type variable of its items replaced."""
    variable = None if items is None else _elements(items, _ITERATORS)
    return _filled(fold, {variable: item}) if isinstance(variable, TypeVar) else fold


def _elements(annotation: Any, kinds: tuple[Any, ...], *, strict: bool = False) -> Any:
    """Return the T of an iterator or list of T; None if the annotation is neither.

    `strict` refuses constraints beside a list.
    """
    if (value := _expanded(annotation)) is not None:
        return _elements(value, kinds, strict=strict)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        found = _elements(arguments[0], kinds, strict=strict)
        if strict and found is not None and any(map(_constrains, arguments[1:])):
            raise NotItems(f"a stream cannot keep the constraints of {_shown(annotation)}")
        return found
    if origin in (Union, types.UnionType):
        found = [
            _elements(member, kinds, strict=strict)
            for member in arguments
            if member is not type(None) and not (isinstance(member, type) and _is(member, Response))
        ]
        return None if not found or None in found else Union[tuple(found)]  # noqa: UP007
    if isinstance(annotation, TypeVar):
        bound = _bound(annotation)
        return None if bound is None else _elements(bound, kinds, strict=strict)
    if origin in _GIVING and arguments and kinds != _LISTS:
        return _elements(arguments[_GIVING[origin]], kinds, strict=strict)
    cls = origin or annotation
    if cls in kinds:
        return _argument(cls, arguments)
    if isinstance(cls, type) and not _is(cls, (str, bytes, abc.Mapping, BaseModel)):
        return _of_class(cls, arguments, kinds)
    return None


def _argument(cls: Any, arguments: tuple[Any, ...]) -> Any:
    if not arguments:
        return Any
    if cls is tuple and arguments[1:] != (...,):
        return Union[arguments]  # noqa: UP007  (built at run time)
    return arguments[0]


def _of_class(cls: type, arguments: tuple[Any, ...], kinds: tuple[Any, ...]) -> Any:
    """Return what a class yields by its bases or its methods; None if it says nothing."""
    names = _names_of(cls)
    bases = vars(cls).get("__orig_bases__", cls.__bases__)
    # A class of `collections.abc.AsyncIterator[T]` has no parameters of its own.
    of_bases = dict.fromkeys(each for base in bases for each in getattr(base, "__parameters__", ()))
    known = dict(zip(getattr(cls, "__parameters__", of_bases), arguments, strict=False))
    for base in bases:
        if (get_origin(base) or base) in (object, typing.Generic, typing.Protocol):
            continue
        found = _elements(_filled(_evaluated(base, names), known), kinds)
        if found is not None:
            return found
    if kinds == _LISTS:
        return None
    for name, is_item in _METHODS:
        method = vars(cls).get(name)
        returns = getattr(method, "__annotations__", {}).get("return")
        if returns is None or returns in (cls, typing.Self, cls.__name__, "Self"):
            continue
        returns = _filled(_evaluated(returns, names), known)
        found = returns if is_item else _elements(returns, kinds)
        if found is not None:
            return found
    return None


def _expanded(annotation: Any) -> Any:
    """Return what a type alias or a NewType of no class stands for; None for any other type."""
    origin = get_origin(annotation)
    alias = annotation if isinstance(annotation, _ALIASES) else origin
    if isinstance(alias, _ALIASES):
        value = _evaluated(alias.__value__, _names_of(alias))
        return _filled(value, dict(zip(alias.__type_params__, get_args(annotation), strict=False)))
    if isinstance(annotation, typing.NewType):
        return annotation.__supertype__
    return None


def _filled(annotation: Any, known: Mapping[Any, Any]) -> Any:
    """Return an annotation with the known type variables replaced."""
    if isinstance(annotation, TypeVar):
        return known.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation  # a bare generic class, whose parameters are not these
    if not parameters or not known:
        return annotation
    return annotation[tuple(known.get(each, each) for each in parameters)]


def _names_of(defined: Any) -> Mapping[str, Any]:
    """Return the names of the module in which an alias, a class or a variable is defined."""
    return vars(sys.modules.get(getattr(defined, "__module__", None) or "", typing))


def _evaluated(annotation: Any, names: Mapping[str, Any]) -> Any:
    """Return an annotation with its forward references resolved, as far as they can be."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, dict(names), include_extras=True)["it"]
    except (NameError, TypeError):
        return annotation


def _bound(variable: TypeVar) -> Any:
    """Return the bound or the constraints of a type variable; None if it has neither."""
    bound = variable.__bound__
    if variable.__constraints__:
        bound = Union[variable.__constraints__]  # noqa: UP007  (built at run time)
    return None if bound is None else _evaluated(bound, _names_of(variable))


def _depth(annotation: Any) -> int:
    inner = _elements(annotation, (*_ITERATORS, *_LISTS))
    return 0 if inner is None else 1 + _depth(inner)


def _constrains(note: Any) -> bool:
    """Return whether a note of `Annotated` checks or changes the value."""
    if isinstance(note, FieldInfo):
        return bool(note.metadata)
    module = type(note).__module__
    return hasattr(note, "__get_pydantic_core_schema__") or module.startswith("annotated_types")


def _has_code(model: type[BaseModel]) -> bool:
    """Return whether a model has validators, serializers or computed fields of its own."""
    decorators = model.__pydantic_decorators__
    return any(getattr(decorators, each.name) for each in dataclasses.fields(decorators))


def _is(cls: type, bases: Any) -> bool:
    try:
        return issubclass(cls, bases)
    except TypeError:  # a protocol, a TypedDict
        return False


def _shown(annotation: Any) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")
