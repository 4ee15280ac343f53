"""Arguments of tool calls as valid JSON: text in pieces, mended where a model or a limit cut it."""

import json
import re
from typing import Any, Final

_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]+')
_ESCAPE: Final = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_PART_OF_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_SPACE: Final = re.compile(r"[ \t\r\n]+")
_LITERAL: Final = re.compile(r"[-+.\w]+")
_CONSTANTS: Final = {"True": "true", "False": "false", "None": "null", "NaN": "null"}


class Arguments:
    """Follows the text of one JSON object, and passes on what keeps it one.

    Text is passed on as it comes. Three things wait until it is known what follows: an empty
    object, a comma, and a number or constant. Control characters and backslashes that escape
    nothing are escaped. What follows the object, or is no JSON, is left out; text that is no object
    from its start is the value of a key (see `object_of`).

    Attributes:
        is_complete: whether the object has ended.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._stack: list[str] = []  # the closing signs of what is open
        self._expect = "start"  # or key, colon, value, comma, end, other, nothing
        self._in_string = False
        self._is_key = False
        self._waiting = ""  # text to read again with the next piece
        self._before = ""  # text to pass on before the next token
        self._has_begun = False
        self._broken_at = ""

    def feed(self, text: str) -> str:
        """Return the text to pass on for a piece."""
        if self._in_string and not self._waiting and _PLAIN.fullmatch(text):
            return text
        text, self._waiting = self._waiting + text, ""
        passed: list[str] = []
        at = 0
        while at < len(text) and self._expect != "nothing":
            if self._expect == "other":
                self._waiting, at = text[at:], len(text)
            elif self._in_string:
                at = self._read_string(text, at, passed)
            else:
                at = self._read_token(text, at, passed)
        return "".join(passed)

    def end(self) -> str:
        """Return the text that completes the object."""
        if self._expect == "other":
            return json.dumps(object_of(self._waiting), ensure_ascii=False)
        if not self._has_begun:
            return "{}"
        rest, expect = "", self._expect
        if self._in_string:
            rest, expect = '"', "colon" if self._is_key else "comma"
        elif self._waiting:
            rest, expect = self._before + _completed(self._waiting), "comma"
        if expect == "nothing":
            expect = self._broken_at
        if expect == "colon":
            rest += ":null"
        elif expect == "value" and self._stack[-1] == "}":
            rest += "null"
        return rest + "".join(reversed(self._stack))

    def _read_string(self, text: str, at: int, passed: list[str]) -> int:
        if plain := _PLAIN.match(text, at):
            passed.append(plain[0])
            return plain.end()
        if text[at] == '"':
            self._in_string = False
            self._expect = "colon" if self._is_key else "comma"
            passed.append('"')
        elif text[at] != "\\":
            passed.append(json.dumps(text[at])[1:-1])  # a control character
        elif escape := _ESCAPE.match(text, at):
            passed.append(escape[0])
            return escape.end()
        elif _PART_OF_ESCAPE.fullmatch(text, at):
            self._waiting = text[at:]
            return len(text)
        else:
            passed.append("\\\\")
        return at + 1

    def _read_token(self, text: str, at: int, passed: list[str]) -> int:
        if space := _SPACE.match(text, at):
            if self._before:
                self._before += space[0]
            elif self._has_begun:
                passed.append(space[0])
            return space.end()
        sign, expect = text[at], self._expect
        if expect in ("start", "end") and sign == "{" and not self._has_begun:
            self._before, self._stack, self._expect = "{", ["}"], "key"
            self.is_complete = False
        elif self._stack and sign == self._stack[-1] and self._may_close():
            self._close(passed)
        elif expect == "colon" and sign == ":":
            self._pass(":", "value", passed)
        elif expect == "comma" and sign == ",":
            self._before = ","
            self._expect = "key" if self._stack[-1] == "}" else "value"
        elif sign == '"' and expect in ("key", "value"):
            self._is_key, self._in_string = expect == "key", True
            self._pass('"', expect, passed)
        elif expect == "value" and sign in "{[":
            self._pass(sign, "key" if sign == "{" else "value", passed)
            self._stack.append("}" if sign == "{" else "]")
        elif expect == "value" and (literal := _LITERAL.match(text, at)):
            if literal.end() == len(text):
                self._waiting = literal[0]
            elif (value := _value(literal[0])) is not None:
                self._pass(value, "comma", passed)
            else:
                return self._break(text, at)
            return literal.end()
        else:
            return self._break(text, at)
        return at + 1

    def _may_close(self) -> bool:
        # After a colon, a value is needed; after a comma it is not: the comma is dropped.
        return self._expect in ("comma", "key") or (
            self._expect == "value" and self._stack[-1] == "]"
        )

    def _close(self, passed: list[str]) -> None:
        sign = self._stack.pop()
        if self._has_begun:
            self._before = ""
            passed.append(sign)
        self._expect = "comma" if self._stack else "end"
        self.is_complete = not self._stack

    def _pass(self, text: str, expect: str, passed: list[str]) -> None:
        passed.append(self._before + text)
        self._before = ""
        self._has_begun = True
        self._expect = expect

    def _break(self, text: str, at: int) -> int:
        """Leave out the rest; if nothing was passed on, the whole text is the value of a key."""
        if self._has_begun:
            self._broken_at, self._expect = self._expect, "nothing"
        elif self._expect != "end":
            self._waiting, self._expect = self._before + text[at:], "other"
        return len(text)


def _value(literal: str) -> str | None:
    """Return a number or constant as JSON; None if it is neither."""
    literal = _CONSTANTS.get(literal, literal)
    try:
        json.loads(literal, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return None
    return literal


def _completed(literal: str) -> str:
    """Return the number or constant that a cut one may have been."""
    words = [word for word in ("true", "false", "null") if word.startswith(literal)]
    return next(
        (v for text in (literal, *words, f"{literal}0") if (v := _value(text)) is not None), "null"
    )


def arguments_text(arguments: Any) -> str:
    """Return arguments as JSON text: text as it is, nothing for None, anything else dumped."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        dump = getattr(arguments, "model_dump", None)
        try:
            return json.dumps(dump(mode="json") if callable(dump) else None, ensure_ascii=False)
        except Exception:  # an object that nobody validated
            return ""


def object_of(arguments: str) -> dict[str, Any]:
    """Return the object that arguments are.

    JSON text that has an object in it is that object. Any other value is under the key "value", and
    text that is no JSON, because it was cut, under the key "cut".
    """
    try:
        value = json.loads(arguments or "{}")
        if isinstance(value, str) and value.lstrip()[:1] == "{":
            value = json.loads(value)
    except (ValueError, RecursionError):
        return {"cut": arguments} if arguments.strip() else {}
    if value is None or value == "":
        return {}
    return value if isinstance(value, dict) else {"value": value}
