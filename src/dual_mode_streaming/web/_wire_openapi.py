"""What a foreign wire format adds to the OpenAPI description of an endpoint."""

from typing import Any, Final

_REFUSALS: Final = {
    400: "The request is wrong",
    404: "There is no such answer any more",
    409: "The key was used for another request",
    410: "Parts of the answer are not stored any more",
}


def describe_wire(operation: dict[str, Any], status: str) -> None:
    """Describe the stream and the refusals of a wire format, whose schemas only it knows."""
    responses = operation["responses"]
    responses[status]["content"]["text/event-stream"] = {"itemSchema": {"type": "object"}}
    for code, description in _REFUSALS.items():
        responses.setdefault(str(code), {"description": description})
    for code, response in responses.items():
        if code.isdecimal() and int(code) >= 400:
            content = response.setdefault("content", {})
            content["application/json"] = content["text/plain"] = {}
