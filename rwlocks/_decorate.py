"""Functions that run with a lock held: sync, async, and generators of both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from rwlocks._guards import Guard

__all__ = ["decorate"]

F = TypeVar("F", bound="Callable[..., Any]")


def decorate(function: F, new_guard: Callable[[], Guard]) -> F:
    """The function, with a fresh guard held during each call, or during each life of the generator it returns."""
    import functools
    import inspect

    if not callable(function):
        raise TypeError(f"{function!r} cannot be called; a guard decorates functions")
    if inspect.isasyncgenfunction(function):
        held = _async_generator(function, new_guard)
    elif inspect.iscoroutinefunction(function):
        held = _coroutine(function, new_guard)
    elif inspect.isgeneratorfunction(function):
        held = _generator(function, new_guard)
    else:
        held = _plain(function, new_guard)
    return cast("F", functools.wraps(function)(held))


def _plain(function: Callable[..., Any], new_guard: Callable[[], Guard]) -> Callable[..., Any]:
    def held(*args: Any, **kwargs: Any) -> Any:
        with new_guard():
            return function(*args, **kwargs)

    return held


def _generator(function: Callable[..., Any], new_guard: Callable[[], Guard]) -> Callable[..., Any]:
    def held(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with new_guard():
            inner: Generator[Any, Any, Any] = function(*args, **kwargs)
            return (yield from inner)

    return held


def _coroutine(function: Callable[..., Any], new_guard: Callable[[], Guard]) -> Callable[..., Any]:
    async def held(*args: Any, **kwargs: Any) -> Any:
        async with new_guard():
            return await function(*args, **kwargs)

    return held


def _async_generator(function: Callable[..., Any], new_guard: Callable[[], Guard]) -> Callable[..., Any]:
    async def held(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async with new_guard():
            inner = function(*args, **kwargs)
            try:
                step = inner.asend(None)
                while True:
                    try:
                        value = await step
                    except StopAsyncIteration:
                        return
                    # What `yield from` does for plain generators: pass on what is sent or thrown in.
                    try:
                        step = inner.asend((yield value))
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001  the generator may handle it
                        step = inner.athrow(error)
            finally:
                await inner.aclose()

    return held
