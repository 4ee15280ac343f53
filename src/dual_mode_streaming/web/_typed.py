"""The types of `dual_mode`: what a type checker and an editor see of a decorated function."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeAlias, TypeVar, overload

from starlette.responses import Response

_Items: TypeAlias = (
    AsyncIterable[Any]
    | Iterator[Any]
    | AbstractAsyncContextManager[AsyncIterable[Any] | Iterator[Any]]
    | AbstractContextManager[Iterator[Any]]
    | Response
)

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")
T_fold = TypeVar("T_fold")
R = TypeVar("R", bound=_Items | Awaitable[_Items])
R_co = TypeVar("R_co", covariant=True)


class BoundEndpoint(Protocol[P]):
    """A path operation of one object: a bound method."""

    @property
    def __name__(self) -> str: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Response]: ...


class Endpoint(Protocol[P, R_co]):
    """A path operation that `dual_mode` made."""

    @property
    def __name__(self) -> str: ...
    @property
    def generator(self) -> Callable[P, R_co]:
        """The undecorated function, for unit tests and for other code."""
        ...

    @property
    def resume(self) -> Callable[..., Awaitable[Response]]:
        """The path operation that reads an answer again; only with `wire` and `record`."""
        ...

    @property
    def stop(self) -> Callable[..., Awaitable[Response]]:
        """The path operation that stops an answer; only with `wire` and `record`."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Response]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Self: ...
    @overload
    def __get__(
        self: "Endpoint[Concatenate[S, Q], R_co]", instance: S, owner: type[Any] | None = None, /
    ) -> BoundEndpoint[Q]: ...


class Decorator(Protocol):
    """`dual_mode(...)`: decorates a function that gives an iterator."""

    def __call__(self, function: Callable[P, R], /) -> Endpoint[P, R]: ...


class FoldDecorator(Protocol[T_fold]):
    """`dual_mode(fold=...)`: decorates a function whose items the fold takes."""

    @overload
    def __call__(
        self, function: Callable[P, AsyncIterable[T_fold]], /
    ) -> Endpoint[P, AsyncIterator[T_fold]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Iterator[T_fold]], /
    ) -> Endpoint[P, Iterator[T_fold]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Awaitable[AsyncIterable[T_fold] | Iterator[T_fold]]], /
    ) -> Endpoint[P, Awaitable[AsyncIterator[T_fold]]]: ...
