"""What is told of a request that does not fit its schema: where and why, and not what it said.

FastAPI's own handler repeats the input. That may be a secret, or megabytes; and of NaN or a lone
surrogate, which Python's JSON parser lets in, it makes a 500.
"""

import json

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

__all__ = ["refuse_briefly"]


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()]
    body = json.dumps({"detail": told[:20]}, separators=(",", ":"))  # ASCII, surrogates escaped
    return Response(body, 422, media_type="application/json")


def refuse_briefly(app: FastAPI) -> None:
    """Let the app answer so: in the shape of FastAPI's own, which the document describes."""
    app.add_exception_handler(RequestValidationError, _refusal)
