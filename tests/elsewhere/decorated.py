"""An app whose endpoints others decorate too; prints what a client sees of them, as JSON."""

import json
from collections.abc import AsyncIterator

import wrapt
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient
from fastapi_utils.cbv import cbv
from slowapi import Limiter
from slowapi.util import get_remote_address

from dual_mode_streaming import dual_mode, install

app, router = FastAPI(), APIRouter()
install(app)
app.state.limiter = limiter = Limiter(key_func=get_remote_address)


def tenant(tenant: str = "t") -> str:
    return tenant


@cbv(router)
class Views:
    tenant: str = Depends(tenant)

    @router.get("/view")
    @dual_mode
    async def view(self, n: int = 1) -> AsyncIterator[str]:
        yield f"{self.tenant}{n}"

    @router.get("/recorded")
    @dual_mode(record=True)
    async def recorded(self, n: int = 1) -> AsyncIterator[str]:
        yield f"{self.tenant}{n}"


@router.get("/limited-above")
@limiter.limit("1/minute")
@dual_mode
async def limited_above(request: Request, response: Response) -> AsyncIterator[int]:
    yield 1


@router.get("/limited-below")
@dual_mode
@limiter.limit("1/minute")
async def limited_below(request: Request, response: Response) -> AsyncIterator[int]:
    yield 1


@wrapt.decorator
def relayed(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)


@wrapt.decorator
async def awaited(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)


@router.get("/relayed")
@dual_mode
@relayed
async def of_relayed(n: int = 1) -> AsyncIterator[int]:
    yield n


@router.get("/awaited")
@dual_mode
@awaited
async def of_awaited(n: int = 1) -> AsyncIterator[int]:
    yield n


app.include_router(router)
seen = {}
with TestClient(app) as client:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        if "{" not in path:
            once, twice = (client.get(path, params={"n": 2, "tenant": "u"}) for _ in range(2))
            names = sorted(each["name"] for each in operations["get"]["parameters"])
            seen[path] = [once.json(), twice.status_code, names]
print(json.dumps(seen))
