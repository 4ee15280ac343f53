"""JSON of many megabytes, parsed in short steps: a parser in C holds the interpreter all the time.

It is for a thread, so that the event loop has its turn between two steps. The strings are taken out
and parsed piece by piece; what is left is small, because the number of values is limited.
"""

from collections.abc import Iterator
from typing import Any, Final

import pydantic_core

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.web._json_size import JSONSize

_LONGEST: Final = 12
"""The bytes of the longest escape, a pair of surrogates; all lengths of one are factors of it."""

STEP: Final = _LONGEST * 20_000
"""The most bytes that are parsed at once: some 2 ms. A body up to it is parsed as it is."""


def parse_json(content: bytes, values: int, step: int = STEP) -> Any:
    """Parse a body.

    Args:
        content: the body.
        values: the most values and names in it.
        step: the bytes of a step.

    Raises:
        Problem: 413, there are more values; 400, it is not valid JSON.
    """
    size = JSONSize(values)
    for start in range(0, len(content), step):
        size.feed(content[start : start + step])
    try:
        # json.loads accepts NaN and lone surrogates, which no answer could repeat.
        if len(content) <= step:
            return pydantic_core.from_json(content, allow_inf_nan=False)
        skeleton, spans = _without_strings(content, 2 * values, step)
        value = pydantic_core.from_json(skeleton, allow_inf_nan=False)
        return _filled(value, list(_strings(content, spans, step)))
    except ValueError as error:
        reason = str(error) if len(content) <= step else str(error).partition(" at line")[0]
        raise Problem(400, f"the body is not valid JSON: {reason}") from error


def _without_strings(content: bytes, most: int, step: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the JSON with the number of each string in its place, and where the strings are."""
    kept: list[bytes] = []
    spans: list[tuple[int, int]] = []
    opened: int | None = None
    start = 0
    while start < len(content):
        end = start + step
        piece = content[start:end]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # what it escapes is in the next piece
            piece = content[start : end + 1]
        position = start
        plain = piece.replace(rb"\\", b"__").replace(rb"\"", b"__")
        for number, part in enumerate(plain.split(b'"')):
            if number and opened is None:
                opened = position - 1
            elif number:
                assert opened is not None
                kept.append(b'"%d"' % len(spans))
                spans.append((opened, position))
                opened = None
            if opened is None:
                kept.append(part)
            position += len(part) + 1
        if len(spans) > most:
            raise ValueError("strings without commas between them")
        start += len(piece)
    if opened is not None:
        raise ValueError("EOF while parsing a string")
    return b"".join(kept), spans


def _strings(content: bytes, spans: list[tuple[int, int]], step: int) -> Iterator[str]:
    """Yield the strings, parsed many at once or a part at once."""
    batch: list[bytes] = []
    size = 0
    for start, end in spans:
        if size + end - start > step:
            yield from pydantic_core.from_json(b"[" + b",".join(batch) + b"]")
            batch, size = [], 0
        if end - start > step:
            yield "".join(_parts(content[start + 1 : end - 1], step))
        else:
            batch.append(content[start:end])
            size += end - start
    yield from pydantic_core.from_json(b"[" + b",".join(batch) + b"]")


def _parts(text: bytes, step: int) -> Iterator[str]:
    """Yield the parts of a long string. What ends in the middle of a character does not parse."""
    at = 0
    while at < len(text):
        for to in range(at + step, at + step + _LONGEST):
            try:
                yield pydantic_core.from_json(b'"%b"' % text[at:to], allow_inf_nan=False)
                break
            except ValueError as error:
                wrong = error
        else:
            raise wrong
        at = to


def _filled(value: Any, strings: list[str]) -> Any:
    """Return the value with the strings in the places of their numbers."""
    if isinstance(value, str):
        return strings[int(value)]
    if isinstance(value, list):
        return [_filled(item, strings) for item in value]
    if isinstance(value, dict):
        return {strings[int(name)]: _filled(item, strings) for name, item in value.items()}
    return value
