"""The names of channels: segments with slashes between them, some of which are parameters."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from dual_mode_streaming.errors import Problem

LONGEST: Final = 500
"""The longest name of a channel, in characters."""

_PARAMETER: Final = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)
_OPTIONS: Final = frozenset({"after", "error", "from_", "item", "items", "key", "limit", "self"})


def check_name(name: str) -> str:
    """Return the name of a channel.

    Raises:
        Problem: 400 if it is none.
    """
    if len(name) > LONGEST:
        raise Problem(400, f"the name of a channel has at most {LONGEST} characters")
    for segment in name.split("/"):
        _check_segment(segment, "a segment of the name of a channel")
    return name


def stream_of(name: str) -> str:
    """Return the id of the stream of a channel. Only its digest becomes a key of a store."""
    return hashlib.sha256(b"channel\0" + name.encode()).hexdigest()[:32]


class NameTemplate:
    """The name of a channel, in which whole segments may be parameters: `orders/{id}`.

    Raises:
        TypeError: it is not a str.
        ValueError: it is not such a name.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"the name of a channel must be a str, not {text!r}")
        self.text = text
        self.parts: list[tuple[str, bool]] = []  # of a segment: its text, whether a parameter
        for segment in text.split("/"):
            found = _PARAMETER.fullmatch(segment)
            if found is None and "{" in segment:
                raise ValueError(
                    f"Channel({text!r}): a parameter is a whole segment and a Python name, as in "
                    f"'orders/{{id}}', not {segment!r}"
                )
            self.parts.append((segment if found is None else found[1], found is not None))
            try:
                check_name(segment if found is None else found[1])
            except Problem as problem:
                raise ValueError(f"Channel({text!r}): {problem.detail}") from None
        self.parameters = [name for name, is_parameter in self.parts if is_parameter]
        if taken := _OPTIONS.intersection(self.parameters):
            raise ValueError(f"Channel({text!r}): {min(taken)} is an option of its methods")
        if len(set(self.parameters)) < len(self.parameters) or len(text) > LONGEST:
            raise ValueError(f"Channel({text!r}): a parameter is there twice, or it is too long")

    def fill(self, values: Mapping[str, Any]) -> str:
        """Return the name with the values of the parameters: a value is always one segment.

        Raises:
            TypeError: a parameter is missing or unknown, or its value is not a str, int or UUID.
            Problem: 400 for a value that cannot be a segment of a name.
        """
        if values.keys() != set(self.parameters):
            needed = ", ".join(self.parameters) or "no parameters"
            given = ", ".join(values) or "none"
            raise TypeError(f"the channel {self.text!r} needs {needed}, not: {given}")
        filled = []
        for part, is_parameter in self.parts:
            value = values[part] if is_parameter else part
            if not isinstance(value, str | int | UUID) or isinstance(value, bool):
                raise TypeError(f"{part} of the channel {self.text!r} must be a str, int or UUID")
            text = str.__str__(value) if isinstance(value, str) else str(value)
            filled.append(_check_segment(text, f"{part} of the channel {self.text!r}"))
        return check_name("/".join(filled))

    def has(self, name: str) -> bool:
        """Return whether a name is one of this template."""
        segments = name.split("/")
        return len(segments) == len(self.parts) and all(
            is_parameter or part == segment
            for (part, is_parameter), segment in zip(self.parts, segments, strict=True)
        )

    def meets(self, other: "NameTemplate") -> bool:
        """Return whether both can have the same name, although they are different."""
        return (
            self.text != other.text
            and len(self.parts) == len(other.parts)
            and all(
                one == two or own or others
                for (one, own), (two, others) in zip(self.parts, other.parts, strict=True)
            )
        )


def _check_segment(segment: str, what: str) -> str:
    if (
        not segment.isprintable()
        or segment.strip() in ("", ".", "..")
        or not set("/{}\\").isdisjoint(segment)
    ):
        raise Problem(
            400,
            f"{what} must be printable characters without / \\ {{ }}, and not empty, '.' or '..';"
            f" not {segment!r:.80}",
        )
    return segment
