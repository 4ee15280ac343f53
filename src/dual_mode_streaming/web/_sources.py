"""What a decorated callable gives for a request, as one async iterator that the response owns.

An async generator function is called at once: its body does not run yet. All else is called when
the first item is wanted, in the task that owns the source: a request that is refused calls nothing,
and a client that leaves cancels an `async def` that still waits for its upstream.
"""

import dis
import functools
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
)
from types import FunctionType, MethodType
from typing import Any

from starlette.responses import Response

from dual_mode_streaming.bridges import from_sync
from dual_mode_streaming.channels import Subscription
from dual_mode_streaming.running.pull import close_source, throw_into
from dual_mode_streaming.streams import Stream
from dual_mode_streaming.streams._scope import Scope
from dual_mode_streaming.web._item_type import kinds_of
from dual_mode_streaming.web._signatures import described, layers

SourceOf = Callable[..., AsyncIterator[Any]]
"""Returns the source for the arguments of one request, given by name. The caller closes it."""

_in_thread = functools.partial(from_sync, ahead=64)
"""Iterates a plain iterator, which is up to so many quick items ahead of its answer."""

_YIELDS = "use `yield`, or return an (async) iterator"


class ResponseReturned(Exception):
    """A function returned a finished response where its items were wanted."""

    def __init__(self, response: Response) -> None:
        super().__init__(
            "the function returned a Response when the headers of the stream had been sent, or in "
            "a recording; raise an HTTPException there, or return the Response within `grace`"
        )
        self.response = response


def source_of(function: Any, signature: inspect.Signature, returns: Any) -> SourceOf:
    """Return the function that makes the sources of a decorated callable.

    Args:
        function: the decorated callable.
        signature: its signature.
        returns: its return annotation, resolved; None if there is none.

    Raises:
        TypeError: its annotation or its code shows that it gives no iterator.
    """
    code = _called(function)
    call = _by_name(function, signature)
    if type(code) is FunctionType and inspect.isasyncgenfunction(code):
        return call
    if type(code) is FunctionType and inspect.isgeneratorfunction(code):
        return lambda **values: _in_thread(call(**values))
    name = described(function)["__qualname__"]
    inner = tuple(layers(function))[-1]
    if (code is inner or inspect.isclass(code)) and not (
        _may_iterate(returns) and _may_return(code)
    ):
        raise TypeError(f"dual_mode: {name} gives no items: {_YIELDS}")
    plain = inspect.isgeneratorfunction(inner) or _are_plain(returns)
    plain = plain and not inspect.iscoroutinefunction(code)
    return lambda **values: Returned(name, functools.partial(call, **values), plain)


class Returned(AsyncIterator[Any]):
    """The source of a function that returns an iterator.

    `subscribed` returns the source of a channel's subscription: what there is, unless the response
    is a stream and sets another. `follows` is whether the function has returned one, so that the
    client's cursor is one of the channel.

    Args:
        name: the name of the function, for errors.
        call: calls it.
        plain: whether to call it in the thread in which its plain iterator will run.
    """

    __slots__ = ("_call", "_name", "_plain", "_source", "follows", "subscribed")

    def __init__(self, name: str, call: Callable[[], Any], plain: bool) -> None:
        self._name = name
        self._call = call
        self._plain = plain
        self._source: AsyncIterator[Any] | None = None
        self.follows = False
        self.subscribed: Callable[[Subscription[Any]], AsyncIterator[Any]] = Subscription.kept

    def __aiter__(self) -> AsyncIterator[Any]:
        # `pull` asks again and again; so a busy iterator is read without a detour.
        return self if self._source is None else self._source

    async def __anext__(self) -> Any:
        if self._source is None:
            if self._plain:
                self._source = _in_thread(_Called(self._name, self._call))
                try:
                    return await anext(self._source)
                except _NotPlain as returned:
                    result = returned.result
            else:
                result = self._call()
            while inspect.isawaitable(result):
                result = await result
            if isinstance(result, Subscription):
                self.follows = True
                result = self.subscribed(result)
            self._source = _items_of(self._name, result)
        return await anext(self._source)

    async def aclose(self) -> None:
        if self._source is not None:
            await close_source(self._source)

    async def athrow(self, error: BaseException) -> Any:
        if self._source is None:
            raise error
        return await throw_into(self._source, error)


class _Called(Iterable[Any]):
    """What a function returns; it is called where its iterator runs, in the thread."""

    def __init__(self, name: str, call: Callable[[], Any]) -> None:
        self._name = name
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        result = self._call()
        if (items := _plain_items_of(self._name, result)) is None:
            raise _NotPlain(result)
        return items


class _NotPlain(Exception):
    """A function did not return the plain iterator that was expected."""

    def __init__(self, result: Any) -> None:
        self.result = result


def _items_of(name: str, result: Any) -> AsyncIterator[Any]:
    """Return an async iterator of what a function returned, which closes it."""
    kind = type(result)
    if hasattr(kind, "__aiter__"):
        if hasattr(kind, "__anext__") and hasattr(result, "aclose"):
            return result  # type: ignore[no-any-return]
        if hasattr(result, "aclose"):
            return _within(name, aclosing(result))
        if not hasattr(kind, "__aexit__"):
            if inspect.iscoroutinefunction(getattr(result, "close", None)):
                return _within(name, _closing(result))
            return aiter(result)
    if hasattr(kind, "__aexit__"):
        return _within(name, result)
    if (items := _plain_items_of(name, result)) is not None:
        return _in_thread(items)
    raise _no_items(name, result)


def _plain_items_of(name: str, result: Any) -> Iterator[Any] | None:
    """Return a plain iterator of what a function returned; None if it gives none."""
    kind = type(result)
    if hasattr(kind, "__aiter__") or hasattr(kind, "__aexit__"):
        return None
    if hasattr(kind, "__next__"):
        return result  # type: ignore[no-any-return]
    return _within_plain(name, result) if hasattr(kind, "__exit__") else None


def _within_plain(name: str, manager: AbstractContextManager[Any]) -> Generator[Any, None, None]:
    """Yield the items of what a plain context manager gives, and leave it at the end."""
    with manager as entered:
        if not hasattr(type(entered), "__next__"):
            raise _no_items(name, entered)
        yield from entered


def _within(name: str, manager: AbstractAsyncContextManager[Any]) -> Stream[Any]:
    """Yield the items of what a context manager gives, and leave it at the end."""
    scope = Scope()

    async def items() -> AsyncGenerator[Any, tuple[Any] | None]:
        async with manager as entered:
            if hasattr(type(entered), "__next__"):
                entered = _in_thread(entered)
            elif not hasattr(type(entered), "__aiter__"):
                raise _no_items(name, entered)
            async with scope:
                async for item in scope.open_read(scope.own(entered)):
                    while (sent := (yield item)) is not None:
                        (item,) = sent

    return Stream(items(), scope)


@asynccontextmanager
async def _closing(result: Any) -> AsyncGenerator[Any, None]:
    """Close a result whose close is called so, as SQLAlchemy's AsyncResult and aiofiles' files."""
    try:
        yield result
    finally:
        await result.close()


def _no_items(name: str, result: Any) -> Exception:
    if isinstance(result, Response):
        return ResponseReturned(result)
    return TypeError(
        f"dual_mode: {name} returned {type(result).__qualname__}, which is no iterator: {_YIELDS}"
    )


def _called(function: Any) -> Any:
    """Return the function whose code runs when a callable is called, behind partials and methods.

    A proxy that looks like a function (wrapt) is not one: what it gives is seen when it is called.
    """
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif type(function) is MethodType:
            function = function.__func__
        elif type(type(function).__call__) is FunctionType:
            function = type(function).__call__
        else:
            return function


def _by_name(function: Any, signature: inspect.Signature) -> Callable[..., Any]:
    """Return a function that takes all arguments by name, as FastAPI gives them."""
    first = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_ONLY]
    if not first:
        return function  # type: ignore[no-any-return]

    def call(**values: Any) -> Any:
        return function(*[values.pop(name) for name in first], **values)

    return call


def _is_plain(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    return (
        kind is Iterable or issubclass(kind, Iterator) or issubclass(kind, AbstractContextManager)
    )


def _are_plain(annotation: Any) -> bool:
    """Return whether the items of a function with this return annotation are plain, if any."""
    others = (type(None), Response)
    kinds = [
        kind
        for kind in kinds_of(annotation)
        if not (isinstance(kind, type) and issubclass(kind, others))
    ]
    return bool(kinds) and all(map(_is_plain, kinds))


def _may_iterate(annotation: Any) -> bool:
    """Return whether a function with this return annotation may give an iterator."""
    return annotation is None or any(
        not isinstance(kind, type)
        or kind in (Any, object)
        or _is_plain(kind)
        or issubclass(kind, AsyncIterable | AbstractAsyncContextManager)
        for kind in kinds_of(annotation)
    )


def _may_return(function: Any) -> bool:
    """Return whether the code of a function may return an iterator, not only None or a list."""
    before, opcode = "", ""
    literal = []
    for instruction in dis.get_instructions(function) if isinstance(function, FunctionType) else ():
        before, opcode = opcode, instruction.opname
        if opcode == "RETURN_CONST":
            literal.append(True)
        elif opcode == "RETURN_VALUE":
            literal.append(not instruction.is_jump_target and before.startswith(_LITERALS))
    return not literal or not all(literal)


_LITERALS = ("LOAD_CONST", "LOAD_SMALL_INT", "BUILD_", "LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE")
