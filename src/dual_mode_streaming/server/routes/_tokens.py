"""`POST /tokens`: exchange an API key for a short-lived token that may stand in a URL."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from dual_mode_streaming import TokenSigner
from dual_mode_streaming.limits import Admission
from dual_mode_streaming.limits._guard import guarded_route


class TokenRequest(BaseModel):
    """The path to be read: the `Location` of a recorded answer."""

    path: Annotated[str, Field(pattern=r"^/streams/[0-9a-f]{32}$")]


class TokenResponse(BaseModel):
    """A token to append to the path as `?access_token=`, and the seconds until it expires."""

    access_token: str
    expires_in: float


def token_routes(
    admission: Admission, owner: Callable[[Request], str], signer: TokenSigner
) -> APIRouter:
    """Return the route. A token lets its holder read one stream, as the owner who requested it."""

    routes = APIRouter(tags=["Recorded streams"], route_class=guarded_route(admission.check))

    @routes.post(
        "/tokens",
        summary="Create a token for an EventSource",
        responses={
            400: {"description": "The body is not JSON"},
            401: {"description": "A valid API key is required"},
            429: {"description": "A limit of the API key is reached"},
        },
    )
    def make(request: Request, response: Response, wanted: TokenRequest) -> TokenResponse:
        response.headers["cache-control"] = "no-store"
        token = signer.sign(owner(request), wanted.path)
        return TokenResponse(access_token=token, expires_in=signer.seconds)

    return routes
