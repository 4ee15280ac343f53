"""Decorators as other libraries have them; they know nothing of the names in a user's module."""

import functools
import inspect

from starlette.concurrency import iterate_in_threadpool


def traced(function):
    """A plain wrapper, as of a tracing library."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def awaited(function):
    """An async wrapper that awaits what can be awaited."""

    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return wrapper


def relayed(function):
    """A wrapper that is an async generator itself."""

    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        async for item in function(*args, **kwargs):
            yield item

    return wrapper


def made_async(function):
    """A wrapper that reads a plain generator in a thread of its own."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return iterate_in_threadpool(function(*args, **kwargs))

    return wrapper


def bare(function):
    """A wrapper that forgets `functools.wraps`."""

    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def provided(function):
    """A wrapper that has parameters of its own, and says so in its signature."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(**values):
        return function("given", **values)

    wrapper.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
    return wrapper


class Counted:
    """A decorator that is a class."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.__wrapped__(*args, **kwargs)


class Proxy:
    """An object that looks like the function that it wraps, as wrapt's do."""

    def __init__(self, function):
        self.__wrapped__ = function
        self.__doc__ = function.__doc__

    @property
    def __class__(self):
        return type(self.__wrapped__)

    def __getattr__(self, name):
        return getattr(self.__wrapped__, name)

    def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **kwargs)


def opaque(wrapper, function):
    """Such an object whose call is not written in Python."""
    call = functools.partial(wrapper, function)
    return type("Opaque", (Proxy,), {"__call__": staticmethod(call)})(function)


async def called(function, *args, **kwargs):
    """Call a function from a coroutine."""
    return function(*args, **kwargs)
