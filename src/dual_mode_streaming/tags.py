"""Discriminated unions: the tag of an item names its event."""

import enum
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, Discriminator
from pydantic.fields import FieldInfo

__all__ = ["RESERVED_EVENTS", "Tags"]

RESERVED_EVENTS: Final = frozenset({"done", "error", "reset", "cancelled", "interrupted"})
"""Event names with a meaning of their own in our streams; an item may not take one."""


class Tags:
    """The discriminator of a union: which tag an item carries, and which tags there are.

    `choices` maps each tag to its member type, where the tags can be told from the types.
    """

    def __init__(self, key: str | Callable[[Any], Any], members: Sequence[Any]) -> None:
        self._key = key
        self.choices: dict[str, Any] = {}
        if isinstance(key, str):
            for member in members:
                for tag in _literals(member, key):
                    self.choices[tag] = member
        for tag in self.choices:
            if tag in RESERVED_EVENTS or set(tag) & set("\r\n\0"):
                raise ValueError(
                    f"the tag {tag!r} of the item union cannot name an event: it is reserved or "
                    f"has a line end (reserved: {', '.join(sorted(RESERVED_EVENTS))})"
                )

    @classmethod
    def of(cls, item_type: Any) -> "Tags | None":
        """The tags of an annotated union with a discriminator; None for anything else."""
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
        """The name of the item's event, or None if it shows no tag."""
        key = self._key
        if not isinstance(key, str):
            tag = key(item)
        elif isinstance(item, Mapping):
            tag = item.get(key)
        else:
            tag = getattr(item, key, None)
        return None if tag is None else _plain(tag)


def _plain(tag: Any) -> str:
    return str(tag.value if isinstance(tag, enum.Enum) else tag)


def _literals(member: Any, key: str) -> list[str]:
    """The values that the member's tag field may take: those of its Literal."""
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
