"""The validation errors of a request: as many as can be told, each with little of the input."""

import functools
import math
from typing import Any, Final

from fastapi.dependencies.models import Dependant
from pydantic import ValidationError

_MAX_ERRORS: Final = 1000
"""The most errors that are listed. Beyond it, there is one that says how many there are."""

_MAX_TEXT: Final = 1000
"""The most characters of a text that are repeated."""

_MAX_PARTS: Final = 100
"""The most values of an input that is repeated."""


def bound_errors(dependant: Dependant | None) -> None:
    """Bound the errors of the parameters of a route, and of what it depends on.

    FastAPI lists every error of a body with the input that it is about: minutes of work and
    gigabytes for a few megabytes of wrong values. An input that is no JSON, such as NaN or a lone
    surrogate, would end in a 500.
    """
    if dependant is None:
        return
    for name in ("body_params", "query_params", "header_params", "cookie_params"):
        for field in getattr(dependant, name, ()):
            if hasattr(field, "_type_adapter"):  # a private name: FastAPI has no public way
                field.validate = functools.partial(_validate, field._type_adapter)
    for each in dependant.dependencies:
        bound_errors(each)


def _validate(
    adapter: Any, value: Any, values: object = None, *, loc: tuple[int | str, ...] = ()
) -> tuple[Any, list[dict[str, Any]]]:
    """Validate as FastAPI's `ModelField.validate`."""
    try:
        return adapter.validate_python(value, from_attributes=True), []
    except ValidationError as error:
        if (count := error.error_count()) > _MAX_ERRORS:
            message = f"Input has {count} errors; the first {_MAX_ERRORS} would be too many to list"
            return None, [{"type": "too_many_errors", "loc": loc, "msg": message}]
        return None, [_brief(each, loc) for each in error.errors(include_url=False)]


def _brief(error: Any, loc: tuple[int | str, ...]) -> dict[str, Any]:
    where = tuple(_text(part) if isinstance(part, str) else part for part in error["loc"])
    brief = {**error, "loc": loc + where, "msg": _text(error["msg"])}
    if not _can_be_repeated(error["input"]):
        del brief["input"]
    return brief


def _text(text: str) -> str:
    return text[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _can_be_repeated(value: Any) -> bool:
    """Return whether an input is small, and JSON."""
    parts, length, left = 0, 0, [value]
    while left:
        part = left.pop()
        parts += 1 + (len(part) if isinstance(part, dict | list | tuple) else 0)
        if isinstance(part, str | bytes):
            length += len(part)
        elif isinstance(part, int):
            length += part.bit_length() // 4
        if parts > _MAX_PARTS or length > _MAX_TEXT:
            return False
        if isinstance(part, dict):
            left += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            left += part
        elif isinstance(part, float) and not math.isfinite(part):
            return False
        elif isinstance(part, str | bytes):
            try:
                part.encode() if isinstance(part, str) else part.decode()
            except UnicodeError:
                return False
    return True
