"""The tags of discriminated unions, which name the events of items."""

import enum
import typing
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag
from pydantic.fields import FieldInfo

from dual_mode_streaming.sse import RESERVED_EVENTS


class Tags:
    """The tags of a union with a discriminator.

    Args:
        key: the field that has the tag, or a function from an item to its tag.
        members: the member types of the union.

    Attributes:
        choices: the member type of each tag, as far as the types declare them.

    Raises:
        ValueError: a tag cannot be the name of an event.
    """

    def __init__(self, key: str | Callable[[Any], Any], members: Sequence[Any]) -> None:
        self._key = key
        self.choices: dict[str, Any] = {}
        for member in members:
            for tag, choice in _choices(member, key):
                self.choices[tag] = choice
        self._checked: set[str] = set()
        for tag in self.choices:
            self._check(tag)

    def _check(self, tag: str) -> None:
        if tag in RESERVED_EVENTS or set(tag) & set("\r\n\0"):
            raise ValueError(
                f"the tag {tag!r} of the item union cannot name an event: it is reserved or "
                f"has a line end (reserved: {', '.join(sorted(RESERVED_EVENTS))})"
            )
        self._checked.add(tag)

    @classmethod
    def of(cls, item_type: Any) -> "Tags | None":
        """Return the tags of an annotated union with a discriminator; None for any other type."""
        item_type = getattr(item_type, "__value__", item_type)  # `type X = ...`
        if get_origin(item_type) is not Annotated:
            return None
        union, *metadata = get_args(item_type)
        union = getattr(union, "__value__", union)
        for note in metadata:
            key = note.discriminator if isinstance(note, FieldInfo) else note
            if isinstance(key, Discriminator):
                key = key.discriminator
            elif not (isinstance(note, FieldInfo) and isinstance(key, str)):
                continue
            return cls(key, get_args(union))
        return None

    def tag(self, item: Any) -> str | None:
        """Return the tag of a validated item, which names its event; None if it has no tag.

        Raises:
            ValueError: the tag cannot be the name of an event.
        """
        key = self._key
        if not isinstance(key, str):
            tag = key(item)
        elif isinstance(item, Mapping):
            tag = item.get(key)
        else:
            tag = getattr(item, key, None)
        if tag is None:
            return None
        name = _plain(tag)
        if name not in self._checked:
            self._check(name)
        return name


def _plain(tag: Any) -> str:
    return str(tag.value if isinstance(tag, enum.Enum) else tag)


def _choices(member: Any, key: str | Callable[[Any], Any]) -> list[tuple[str, Any]]:
    """Return the tags of a member of the union with their types; a nested union has several."""
    choice, *metadata = get_args(member) if get_origin(member) is Annotated else (member,)
    if not isinstance(key, str):
        return [(note.tag, choice) for note in metadata if isinstance(note, Tag)]
    if get_origin(choice) in (Union, UnionType):
        return [pair for inner in get_args(choice) for pair in _choices(inner, key)]
    return [(tag, member) for tag in _literals(member, key)]


def _literals(member: Any, key: str) -> list[str]:
    """Return the possible values of the member's tag field: those of its Literal."""
    while get_origin(member) is Annotated:
        member = get_args(member)[0]
    if not isinstance(member, type):
        return []
    if issubclass(member, BaseModel):
        field = member.model_fields.get(key)
        annotation = None if field is None else field.annotation
    else:
        annotation = typing.get_type_hints(member).get(key)
    return (
        [_plain(tag) for tag in get_args(annotation)] if get_origin(annotation) is Literal else []
    )
