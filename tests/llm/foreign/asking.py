"""The questions for every client, and how it reports the answers; used in each environment."""

import json
import sys
from collections.abc import Callable
from typing import Any

URL, QUESTIONS = sys.argv[1], json.loads(sys.argv[2])

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": CITY}}
    for name in ("weather", "time")
]
RESULT = "sunny at noon"


def seen(
    text: str | None,
    thinking: str | None,
    calls: list[tuple[str, Any]],
    usage: tuple[int, int],
    reason: str | None,
) -> dict[str, Any]:
    """An answer. The arguments of a call are JSON, or the value that the client made of it."""
    return {
        "text": text or "",
        "thinking": thinking or "",
        "calls": [
            (name, json.loads(given) if isinstance(given, str) else given) for name, given in calls
        ],
        "usage": usage,
        "reason": reason,
    }


def ask(way: Callable[[str], dict[str, Any]], question: str) -> dict[str, Any]:
    """The answer, or the exception in its place."""
    try:
        return way(question)
    except Exception as error:
        status = getattr(error, "status_code", None)
        return {"error": type(error).__name__, "status": status, "message": str(error)}


def tell(**formats: dict[str, Callable[[str], Any]]) -> None:
    """Print the answers in each wire format: each question and mode, and a round with tools."""
    document = {
        name: {
            "round": ways["round"]("two calls"),
            **{
                question: {mode: ask(ways[mode], question) for mode in modes}
                for question, modes in QUESTIONS.items()
            },
        }
        for name, ways in formats.items()
    }
    print(json.dumps(document))
