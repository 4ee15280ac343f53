"""Inputs: what is valid, bent by chance, each by a `Random`, so that it can be had again."""

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

TEXTS = (
    *("", "a", "user", "tool", "function", "\ud800", "\0", "\r\n", "\n\n", "\u2028", "é", "💧"),
    *("data: x", "event: done", "true", "null", "-1", "1e999", "simulator", "x" * 5000, "{}", '"'),
    *("../..", "%00", "0" * 32, "text", "input_text", "tool_result", "call_1", "auto", "none"),
)
NUMBERS = (0, 1, -1, 2, 7.5, 1e308, -0.0, 2**31, 2**63, 10**40, float("nan"), float("inf"))
BYTES = (
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\0", b":", b": ", b" ", b"\xff", b"\xef\xbb\xbf", b"\xc3"),
    *(b"data", b"data:", b"event: x\n", b"id: 1\n", b"id:\0\n", b"retry: 9\n", b"\xe2\x80\xa8"),
    *(b",", b";", b"=", b'"', b"\\", b"/", b"*", b";q=0", b";q=1.000", b"q=0.5", b"*/*", b"\t"),
    *(b"%", b"?", b"&", b"GET ", b"HTTP/1.0", b"Content-Length: 5\r\n", b"0\r\n\r\n", b"A" * 3000),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n"),
    *(b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"Accept: text/event-stream\r\n"),
)


def bent(rng: Random, seeds: Sequence[bytes], most: int = 6) -> bytes:
    """One of the seeds, or two joined, with up to `most` changes."""
    text = bytearray(rng.choice(seeds))
    if rng.random() < 0.2:
        other = rng.choice(seeds)
        text[rng.randint(0, len(text)) :] = other[rng.randint(0, len(other)) :]
    for _ in range(rng.randint(0, most)):
        at = rng.randint(0, len(text))
        match rng.randrange(5):
            case 0:
                text[at:at] = rng.choice(BYTES)
            case 1:
                text[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                del text[at : at + rng.randint(1, 9)]
            case 3:
                text[at:at] = text[at : at + rng.randint(1, 40)] * rng.randint(1, 3)
            case 4:
                text[at : at + rng.randint(1, 9)] = rng.choice(BYTES)
    return bytes(text)


def cut(rng: Random, text: bytes) -> list[bytes]:
    """The same bytes in pieces, some of them empty."""
    places = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 8)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def any_text(rng: Random) -> str:
    if rng.random() < 0.7:
        return rng.choice(TEXTS)
    return "".join(chr(rng.randrange(0x3000)) for _ in range(rng.randint(0, 12)))


def any_json(rng: Random, depth: int = 0) -> Any:
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind < 2:
        return any_text(rng)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind == 4:
        return rng.choice((None, True, False))
    if kind < 7:
        return {any_text(rng): any_json(rng, depth + 1) for _ in range(rng.randint(0, 3))}
    return [any_json(rng, depth + 1) for _ in range(rng.randint(0, 3))]


def nested(rng: Random) -> Any:
    """Deep, but no deeper than a JSON parser goes."""
    value: Any = 1
    for _ in range(rng.choice((10, 100, 300))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def bent_json(rng: Random, seeds: Sequence[Any]) -> Any:
    """One of the seeds with some of its nodes replaced, gone, twice, or under another name."""
    if rng.random() < 0.02:
        return any_json(rng)
    root = [copy.deepcopy(rng.choice(seeds))]
    for _ in range(rng.randint(0, 4)):
        place: Any = root
        while True:  # go down by chance
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.7:
                place = place[key]
                continue
            match rng.randrange(6):
                case 0 | 1:
                    place[key] = any_json(rng)
                case 2 if place is not root:
                    del place[key]
                case 3 if isinstance(place, dict):
                    place[any_text(rng)] = place[key]
                case 4 if isinstance(place, list) and place is not root:
                    place.append(copy.deepcopy(place[key]))
                case 5 if rng.random() < 0.05:
                    place[key] = nested(rng)
            break
    return root[0]


def as_body(rng: Random, value: Any) -> bytes:
    """A value as the body of a request: as JSON, seldom as what is nearly that."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.8)
    body = text.encode("utf-8", "surrogatepass")
    return bent(rng, [body], 2) if rng.random() < 0.05 else body
