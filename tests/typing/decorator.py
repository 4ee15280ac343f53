"""What type checkers must see of `dual_mode`: parameters, results, and misuse."""

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import assert_type

from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse

from dual_mode_streaming import dual_mode, first
from dual_mode_streaming.streams import Stream, stream_content

app = FastAPI()


async def total(items: AsyncIterator[int]) -> int:
    return sum([item async for item in items])


@app.get("/items")
@dual_mode
async def items(count: int, name: str = "") -> AsyncIterator[int]:
    yield count


@dual_mode(fold=total, heartbeat=3, record=True)
async def folded(count: int) -> AsyncGenerator[int, None]:
    yield count


@dual_mode(grace=0)
def plain(count: int) -> Iterator[str]:
    yield str(count)


@dual_mode(fold=first)
async def any_fold() -> AsyncIterator[str]:
    yield ""


@dual_mode
def returned(text: str) -> Stream[str]:
    return stream_content(text)


@dual_mode
async def awaited(text: str) -> Stream[str] | RedirectResponse:
    return stream_content(text)


@dual_mode
def managed() -> AbstractAsyncContextManager[Stream[str]]:
    return stream_content("text")


class Feed:
    async def __call__(self, count: int) -> AsyncIterator[int]:
        yield count

    async def read(self, count: int) -> AsyncIterator[int]:
        yield count

    @dual_mode
    async def decorated(self, count: int) -> AsyncIterator[int]:
        yield count

    @staticmethod
    @dual_mode
    async def static(count: int) -> AsyncIterator[int]:
        yield count


async def calls() -> None:
    assert_type(items.generator(3, name="a"), AsyncIterator[int])
    assert_type(plain.generator(3), Iterator[str])
    assert_type(returned.generator("text"), Stream[str])
    assert_type(await awaited.generator("text"), Stream[str] | RedirectResponse)
    assert_type(folded.generator(3), AsyncIterator[int])
    assert_type(dual_mode(Feed()).generator(3), AsyncIterator[int])
    assert_type(dual_mode(Feed().read).generator(3), AsyncIterator[int])
    assert_type(dual_mode(functools.partial(Feed().read, 3)).generator(), AsyncIterator[int])
    assert_type(Feed.decorated.generator(Feed(), 3), AsyncIterator[int])
    assert_type(Feed.static.generator(3), AsyncIterator[int])
    assert_type(await Feed().decorated(3), Response)
    app.add_api_route("/feed", Feed().decorated)
    items.generator("three")  # type: ignore[arg-type]
    items.generator(3, nam="a")  # type: ignore[call-arg]
    await Feed().decorated("three")  # type: ignore[arg-type]
    async for _ in items(3):  # type: ignore[attr-defined]
        pass


@dual_mode  # type: ignore[type-var]
async def a_list() -> list[int]:
    return [1]


@dual_mode(heartbeat=3)  # type: ignore[type-var]
def nothing() -> None: ...


@dual_mode(fold=total)  # type: ignore[arg-type]
async def other_items() -> AsyncIterator[str]:
    yield "text"


def no_fold(items: AsyncIterator[int]) -> int:
    return 0


dual_mode(fold=no_fold)  # type: ignore[arg-type]
dual_mode(heartbeats=3)  # type: ignore[call-overload]
dual_mode(grace="soon")  # type: ignore[call-overload]
