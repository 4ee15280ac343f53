"""What the raw ASGI apps share; not a contender itself."""

from typing import Any
from urllib.parse import parse_qs

__all__ = ["END", "HEAD", "asked", "chunk"]

HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
END = {"type": "http.response.body", "body": b""}


def asked(scope: Any) -> int:
    return int(parse_qs(scope["query_string"].decode())["n"][0])


def chunk(body: bytes) -> Any:
    return {"type": "http.response.body", "body": body, "more_body": True}
