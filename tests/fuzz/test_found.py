"""What fuzzing has found, input by input."""

import httpx
import pytest

NESTED = b"[" * 900 + b"]" * 900


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", b'{"messages": [{"role": "assistant", "tool_calls": 7.5}]}'),
        ("responses", b'{"model": "simulator", "input": "Hi", "metadata": {"a": "\\ud800"}}'),
        ("responses", b'{"model": "simulator", "input": "Hi", "metadata": {"a": NaN}}'),
        ("responses", b'{"model": "simulator", "input": "Hi", "tools": %b}' % NESTED),
        ("messages", b'{"model": "\\udfff", "max_tokens": 1, "messages": []}'),
        ("messages", b'{"model": "m", "max_tokens": 1e999, "messages": []}'),
    ],
)
@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_what_json_does_not_have_is_refused_by_the_faces_in_their_own_format(
    service, path, body, stream
):
    body = body.replace(b"{", b'{"stream": %b, ' % stream, 1)
    refused = httpx.post(f"{service}/v1/{path}", content=body)
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["message"]
