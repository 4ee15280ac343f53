"""An app whose document has what generators stumble over: same names, generics, unions."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import FastAPI, Header
from pydantic import BaseModel, Field

from dual_mode_streaming import ServerSentEvent, dual_mode, install

T = TypeVar("T")


class Text(BaseModel):
    kind: Literal["text"] = "text"
    text: str | None = None


class Usage(BaseModel):
    kind: Literal["usage"] = "usage"
    tokens: int


class Page(BaseModel, Generic[T]):
    items: list[T]
    itemSchema: str = ""  # a name of the app's own


class Problem(BaseModel):
    mine: dict[str, Any]


Event = Annotated[Text | Usage, Field(discriminator="kind")]

app = FastAPI()
install(app, prefix="/api/streams", error_event="failure")


@app.post("/union")
@dual_mode(record=True)
async def union(body: Page[Text]) -> AsyncIterator[Event]:
    yield Usage(tokens=len(body.items))


@app.get("/pages")
@dual_mode
async def pages(last_event_id: Annotated[str | None, Header()] = None) -> AsyncIterator[Page[Text]]:
    yield Page[Text](items=[])


@app.get("/numbers", status_code=203)
@dual_mode
async def numbers() -> AsyncIterator[int | None]:
    yield 1


@app.get("/events")
@dual_mode
async def events() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent("x", event="named")


@app.get("/problems", response_model=Problem)
async def problems() -> Any:
    return {"mine": {}}


async def count(items: AsyncIterator[Any]) -> int:
    return len([item async for item in items])


@app.get("/folded/{name}")
@dual_mode(fold=count, stream_flag="live")
async def folded(name: str) -> AsyncIterator[dict[str, Page[int]]]:
    yield {name: Page[int](items=[1])}
