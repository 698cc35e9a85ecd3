"""The Python face of the native core: one lock in shared memory, as the events that a facade needs.

Every operation first tries the door that keeps the interpreter's lock. Told "busy" (somebody is inside the gate, or was
stopped there), a thread goes through the sleeping door, and a task comes back a little later. Waiting threads return to
Python at least every 50 ms, so that signals are answered; the C beneath looks then whether those in front are alive.

A `Hold` is one request, then one hold. It remembers the context in which it was made, and with it the process: after a
fork the child's context is another one, so that it can never touch what its parent holds.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from math import inf
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, final

from rwlocks._errors import (
    GuardStateError,
    LockClosed,
    NotHeldError,
    SegmentError,
    SegmentFull,
    UpgradeConflict,
)
from rwlocks._ports import WatchingBackend
from rwlocks.backends.process import _segment
from rwlocks.backends.process._bells import Bells, Listener
from rwlocks.backends.process._doors import ffi, lib
from rwlocks.backends.process._gate import GateWatch
from rwlocks.backends.process._hold import HELD, NUMBERS, PENDING, POKED, STATE, Hold
from rwlocks.backends.process._snapshot import Counts, Snapshot, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._ports import AsyncBackend, AsyncWaiter
    from rwlocks._types import Mode
    from rwlocks.backends.process._bells import Bell
    from rwlocks.backends.process._fast import Context
    from rwlocks.backends.process._native import Out
    from rwlocks.backends.process._segment import Config, Segment

__all__ = ["Look", "ProcessCore"]

_REFUSED, _GRANTED, _WAITS, _CONFLICT, _BUSY, _DONE, _EXPIRED = range(7)
_CORRUPT, _FULL, _NOT_HELD, _DETACHED = -1, -2, -3, -4
_NOBODY, _THREAD = -1, 0  # who sleeps until an upgrade is granted; any other number is that of a bell
_QUIETLY, _TIMED, _CANCELLED = range(3)
_ENTER_BUSY: Final = -100
_FOREVER: Final = 2**63 - 1

_CAP: Final = 0.05
"""Seconds after which every waiter looks whether those before it are alive."""
_THOROUGH: Final = 20
"""Every so many looks, everything is counted again, so that scribbled memory is noticed by those who only wait."""

Look: TypeAlias = "Callable[[], Exception | None]"
"""Asked again and again during a wait: why to give it up, if there is a reason."""


def _go_on() -> None:
    """There is never a reason."""


@final
class ProcessCore:
    """One lock, seen from this process. All methods may be called from any thread."""

    __slots__ = ("__weakref__", "_bells", "_closed", "_deferred", "_mutex", "_segment", "context")

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.context = segment.context
        self._bells = Bells(segment.bells, segment.mode)
        self._closed = False
        self._deferred: list[Callable[[], int]] = []
        self._mutex = threading.RLock()
        _cores.add(self)

    @classmethod
    def make(cls, config: Config) -> ProcessCore:
        """A lock without a name: for this process, its forked children, and those who get it by pickle."""
        return cls(_segment.make_anonymous(config))

    @classmethod
    def open(cls, path: Path, config: Config | None, *, mode: int = 0o600) -> ProcessCore:
        """The lock at that path; made there, with those permissions, if there is none and a ``config`` is given.

        Raises FileNotFoundError, SegmentError, SegmentFull, and ValueError for limits out of range.
        """
        return cls(_segment.open_named(path, config, mode=mode))

    def __reduce__(self) -> tuple[object, ...]:
        # Holds are not part of it: they belong to a process, and stay there.
        if self._closed:
            raise LockClosed(f"{self.name} was closed in this process, and cannot be pickled any more")
        if self.path is not None:
            return _rebuild_named, (str(self.path), self.instance, self.file_mode)
        from multiprocessing.reduction import DupFd

        return _rebuild_anonymous, (DupFd(self.fileno()), self.instance)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """What the creator decided."""
        return self._segment.config

    @property
    def instance(self) -> bytes:
        """The identity of the segment; another one under the same name has another."""
        return self._segment.instance

    @property
    def path(self) -> Path | None:
        """Where it lies; None for an anonymous one."""
        return self._segment.path

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._segment.name

    @property
    def file_mode(self) -> int:
        """Permission bits."""
        return self._segment.mode

    def fileno(self) -> int:
        """The descriptor that may be handed to children."""
        return self._segment.fd

    @property
    def closed(self) -> bool:
        """Whether `close` was called here."""
        return self._closed

    def recovered(self) -> bool:
        """Whether a writer has died and nobody has marked the data consistent since."""
        return self.ready().recovered()

    def abandoned(self) -> bool:
        """Whether some hold, of whatever process, may be one that nobody can release; a look at the holds tells."""
        return self.context.abandoned()

    def mended(self) -> int:
        """How often this process dropped what a dead one had left, or counted again after it."""
        return self.context.mended()

    def admits(self, mode: Mode) -> bool:
        """Whether the policy would let a newcomer in now. Raises SegmentError, LockClosed."""
        context = self.ready()
        answer = context.admits(NUMBERS[mode])
        if answer < 0:
            raise self._error(answer)
        return answer == _GRANTED

    def counts(self) -> Counts:
        """How many hold and wait now. Raises SegmentError, LockClosed."""
        found = self.ready().counts()
        if isinstance(found, int):
            raise self._error(found)
        return Counts(*found)

    # -- without waiting ----------------------------------------------------------------------------------------

    def enter(self, hold: Hold, mode: Mode, *, hasty: bool = False) -> bool:
        """Take the lock if the policy lets a newcomer in now.

        Whoever is ``hasty`` goes on to wait if the answer is no: then nobody looks yet whether those who hold it are
        alive. Raises SegmentFull, SegmentError, LockClosed. If somebody is stopped inside the gate, the answer is no.
        """
        context = self.context
        token = context.enter(NUMBERS[mode], hasty)
        if token <= 0:
            return False if not token else self._enter_again(hold, mode, token)
        hold.context, hold.token = context, token
        return True

    def _enter_again(self, hold: Hold, mode: Mode, answer: int) -> bool:
        if answer == _ENTER_BUSY:
            context = self.ready()
            done, token = self._attempt(context, mode)
            if done == _GRANTED:
                hold.context, hold.token = context, token
            return done == _GRANTED
        if answer == _DETACHED:
            self.ready()
            return self.enter(hold, mode)
        raise self._error(answer)

    def release(self, hold: Hold) -> None:
        """Give it back. Waits only while somebody is stopped inside the gate. Raises NotHeldError if it is not held."""
        context = hold.context
        if context is None:
            raise self._error(_NOT_HELD)
        token = hold.token or hold.known()
        hold.ending = True
        answer = context.release(token)
        if answer != _DONE:
            self._finish(answer, context, lambda: lib.native_release(context.address, token))
        hold.over = True
        hold.token = 0
        if self._deferred:
            self._apply_deferred()

    def downgrade(self, hold: Hold) -> None:
        """WRITE to READ, or back to what was upgraded; UPGRADABLE to READ.

        Raises NotHeldError for a reader, or for nothing.
        """
        context = self._context_of(hold)
        answer = context.downgrade(hold.token)
        if answer != _DONE:
            self._finish(answer, context, lambda: lib.native_downgrade(context.address, hold.token))

    def end_upgrade(self, hold: Hold) -> None:
        """The upgrade is over: the mode is what it was, and readers may come in."""
        if hold.base is not None:
            self.downgrade(hold)

    def refuse(self) -> None:
        """Count a request that had no time to wait."""
        self.ready().count(_TIMED)

    def abandon(self, hold: Hold) -> None:
        """Say for all to see that nobody can release it any more. Takes no lock, for a finaliser may call it."""
        if hold.context is not None:
            hold.context.abandon(hold.token)

    def mark_consistent(self) -> None:
        """What a dead writer has left is in order again."""
        context = self.ready()
        answer = context.mark_consistent()
        if answer != _DONE:
            self._finish(answer, context, lambda: lib.native_mark_consistent(context.address))

    # -- threads ------------------------------------------------------------------------------------------------

    def acquire(self, hold: Hold, mode: Mode, *, patience: float, timeout: float | None, look: Look = _go_on) -> bool:
        """Wait for the lock, blocking the thread; False if ``timeout`` seconds were not enough.

        ``look`` is asked as soon as the request stands in the queue, and again at least twenty times a second. Whatever
        is raised in a signal handler meanwhile ends as if the request had never been made.
        """
        return self.enter(hold, mode) or self.acquire_in_line(hold, mode, patience=patience, timeout=timeout, look=look)

    def acquire_in_line(
        self, hold: Hold, mode: Mode, *, patience: float, timeout: float | None, look: Look = _go_on
    ) -> bool:
        """`acquire`, for whoever has tried already."""
        until = _deadline(timeout)
        if until <= monotonic_ns():
            return False
        context = self.ready()
        # Filled in by the core itself, so that nothing can come between a request and the knowledge of it.
        token = ffi.new("uint64_t *")
        hold.context, hold.cell = context, token
        try:
            answer = self._queue_up(context, hold, mode, patience, until, token)
        except BaseException:
            hold.token = token[0]
            self.withdraw(hold)
            raise
        finally:
            hold.token, hold.cell = 0 if hold.over else token[0], None
        return answer == _GRANTED or (answer == _WAITS and self._wait(hold, until, self.withdraw, look))

    def _queue_up(self, context: Context, hold: Hold, mode: Mode, patience: float, until: int, token: Out) -> int:
        """Ask for the lock through the sleeping door; busy if time runs out in front of the gate."""
        address, number, nanoseconds = context.address, NUMBERS[mode], _nanoseconds(patience)
        watch, thread = GateWatch(self.name), threading.get_ident()
        while True:
            answer = lib.native_request(*(address, number, True, nanoseconds, thread, hold.arrival, hold.wanted, token))
            if answer < 0:
                raise self._error(answer)
            if answer != _BUSY or monotonic_ns() >= until:
                return answer
            watch.look(context)

    def upgrade(self, hold: Hold, *, timeout: float | None, look: Look = _go_on) -> bool:
        """Become the writer, blocking the thread until the other readers have left; False if time ran out.

        Raises UpgradeConflict if another one is upgradable or upgrading, NotHeldError if nothing is held. ``look`` as
        for `acquire`.
        """
        until = _deadline(timeout)
        may_wait = timeout is None or timeout > 0
        if self._ask_upgrade(hold, _THREAD if may_wait else _NOBODY):
            return True
        return may_wait and self._wait(hold, until, self.withdraw_upgrade, look)

    def _wait(self, hold: Hold, until: int, undo: Callable[[Hold], None], look: Look) -> bool:
        context = self._context_of(hold)
        watch = GateWatch(self.name)
        looks = 0
        try:
            while not self._gives_up(hold, look):
                looks += 1
                granted = self._ended(hold, lib.native_wait(context.address, hold.token, until, looks % _THOROUGH == 0))
                if granted is not None:
                    return granted
                watch.look(context)
                self.sweep()
        except BaseException:
            undo(hold)
            raise
        return True

    def _ended(self, hold: Hold, answer: int) -> bool | None:
        """Whether the wait ended with a grant; None if it goes on."""
        if answer in {_WAITS, _BUSY}:
            return None
        if answer == _GRANTED or (answer == _NOT_HELD and hold.ending):
            return True  # It may have been released since, by whoever has the guard.
        if answer == _EXPIRED:
            return False
        raise self._error(answer)

    def _gives_up(self, hold: Hold, look: Look) -> bool:
        """True if a grant was faster than the reason that ``look`` has found; else that is raised, if there is one."""
        refusal = look()
        if refusal is None:
            return False
        context = self._context_of(hold)
        watch = GateWatch(self.name)
        answer = context.expire(hold.token, _QUIETLY)
        while answer == _BUSY:
            lib.native_probe(context.address, 0)  # sleeps until the gate opens, and does nothing
            watch.look(context)
            answer = context.expire(hold.token, _QUIETLY)
        if not self._ended(hold, answer):
            raise refusal
        return True

    # -- tasks --------------------------------------------------------------------------------------------------

    async def acquire_async(
        self,
        hold: Hold,
        mode: Mode,
        *,
        patience: float,
        timeout: float | None,
        backend: AsyncBackend,
        look: Look = _go_on,
    ) -> bool:
        """Wait for the lock, suspending the task; False if ``timeout`` seconds of the loop's clock were not enough.

        Needs no thread, and never blocks the loop. Cancellation ends as if the request had never been made. ``look`` as
        for `acquire`.
        """
        deadline = inf if timeout is None else backend.clock() + timeout
        if self.enter(hold, mode):  # without a bell, which costs a file
            return True
        if timeout is not None and timeout <= 0:
            return False
        context = self.ready()
        waiter = backend.new_async_waiter(lambda: self.withdraw(hold))
        with _Listening(self, hold, waiter, backend) as bell:
            answer = _BUSY
            while answer == _BUSY:
                self.sweep()
                hold.context = context
                answer = context.request(
                    hold, *(NUMBERS[mode], True, _nanoseconds(patience), bell, hold.arrival, hold.wanted)
                )
                if answer == _BUSY:
                    if backend.clock() >= deadline:
                        return False
                    await waiter.park(0.001)
            if answer == _GRANTED:
                return True
            if answer != _WAITS:
                raise self._error(answer)
            return await self._wait_async(hold, waiter, deadline, backend, self.withdraw, look)

    async def upgrade_async(
        self, hold: Hold, *, timeout: float | None, backend: AsyncBackend, look: Look = _go_on
    ) -> bool:
        """As `upgrade`, suspending the task."""
        deadline = inf if timeout is None else backend.clock() + timeout
        if self._ask_upgrade(hold, _NOBODY):  # without a bell, which costs a file
            return True
        if timeout is not None and timeout <= 0:
            return False
        waiter = backend.new_async_waiter(lambda: self.withdraw_upgrade(hold))
        with _Listening(self, hold, waiter, backend) as bell:
            if self._ask_upgrade(hold, bell):
                return True
            return await self._wait_async(hold, waiter, deadline, backend, self.withdraw_upgrade, look)

    async def _wait_async(
        self,
        hold: Hold,
        waiter: AsyncWaiter,
        deadline: float,
        backend: AsyncBackend,
        undo: Callable[[Hold], None],
        look: Look,
    ) -> bool:
        context = self._context_of(hold)
        looks, next_look = 0, monotonic() + _CAP
        try:
            if self._gives_up(hold, look):
                return True
            while True:
                answer = context.resume(hold.token)
                if answer == _WAITS and backend.clock() >= deadline:
                    answer = context.expire(hold.token, _TIMED)
                granted = self._ended(hold, answer)
                if granted is not None:
                    return granted
                if monotonic() >= next_look and answer == _WAITS:
                    looks, next_look = looks + 1, monotonic() + _CAP
                    self._look_around(hold, thorough=looks % _THOROUGH == 0)
                    if self._gives_up(hold, look):
                        return True
                    continue
                nap = 0.001 if answer == _BUSY else max(next_look - monotonic(), 0)
                await waiter.park(min(nap, max(deadline - backend.clock(), 0)))
        except BaseException:
            undo(hold)
            raise

    def _look_around(self, hold: Hold, *, thorough: bool) -> None:
        """What the sleeping door does by itself: see whether those in front are alive."""
        probed = self._context_of(hold).probe(hold.token, thorough)
        if probed not in {_DONE, _BUSY, _NOT_HELD}:
            raise self._error(probed)
        self.sweep()

    # -- taking back --------------------------------------------------------------------------------------------

    def withdraw(self, hold: Hold) -> None:
        """The request was never made; a grant that was faster is passed on. Never fails, never waits for long."""
        context, token = hold.context, hold.token
        hold.over, hold.token = True, 0
        if context is not None and token:
            self._tell(
                context,
                lambda: context.withdraw(token, _CANCELLED),
                lambda: lib.native_withdraw(context.address, token, _CANCELLED),
            )

    def withdraw_upgrade(self, hold: Hold) -> None:
        """The upgrade was never asked for: the hold is what it was."""
        context, token = hold.context, hold.token
        if context is not None and token:
            self._tell(
                context,
                lambda: context.withdraw_upgrade(token, _CANCELLED),
                lambda: lib.native_withdraw_upgrade(context.address, token, _CANCELLED),
            )

    def sweep(self) -> None:
        """Withdraw for the tasks of loops that were closed while they waited, and do what the gate had no time for."""
        for listener in self._bells.sweep():
            listener.lost()
        if self._deferred:
            self._apply_deferred()

    def _tell(self, context: Context, fast: Callable[[], int], slow: Callable[[], int]) -> None:
        """An event whose outcome nobody needs; done later if the gate stays shut."""
        if fast() == _BUSY and slow() == _BUSY:
            self._deferred.append(slow)

    def _apply_deferred(self) -> None:
        for event in self._deferred.copy():
            if event() == _BUSY:
                return
            try:
                # Only now, so that none is lost; to do it a second time would change nothing.
                self._deferred.remove(event)
            except ValueError:
                pass  # Another thread did it, too.

    # -- looking ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Who holds and who waits. Raises SegmentError if somebody stays inside the gate."""
        context = self.ready()
        watch = GateWatch(self.name)
        found = context.snapshot()
        while isinstance(found, int):
            if found != _BUSY:
                raise self._error(found)
            lib.native_probe(context.address, 0)  # sleeps until the gate opens, and does nothing
            watch.look(context)
            found = context.snapshot()
        return snapshot_of(found, self.name)

    def processes(self) -> list[int]:
        """The pids of those who use the lock."""
        return self.ready().processes()

    # -- coming and going ---------------------------------------------------------------------------------------

    def close(self, *, unlink_if_last: bool = False) -> None:
        """Use it no more. Those of this process who wait get LockClosed.

        Raises GuardStateError while this process holds it.
        """
        with self._mutex:
            if self._closed:
                return
            context = self.context
            if context.attached:
                answer = context.detach()
                while answer == _BUSY:
                    answer = lib.native_detach(context.address)
                if answer == _REFUSED:
                    raise GuardStateError("this process holds the lock; release its guards before you close it")
                self._closed = True
                if unlink_if_last:
                    self._segment.unlink_if_alone()
                context.unlock()
            self._closed = True
            self._segment.close_file()

    def ready(self) -> Context:
        """The context to use now; made anew in a forked child. Raises LockClosed."""
        context = self.context
        if context.attached:
            return context
        with self._mutex:
            if self._closed:
                raise LockClosed(f"{self.name} was closed in this process; make a new object for it")
            if not self.context.attached:
                self._segment.reopen()
                self.context = self._segment.context
            return self.context

    def forked(self) -> None:
        """In a forked child: everything is the parent's. The next use attaches this process."""
        self._mutex = threading.RLock()
        self._deferred = []
        self.context.disown()
        self._bells.forked()

    # -- small steps --------------------------------------------------------------------------------------------

    def _attempt(self, context: Context, mode: Mode) -> tuple[int, int]:
        """Ask once through the sleeping door, without waiting. Returns the answer and the token; raises for errors."""
        token = ffi.new("uint64_t *")
        answer = lib.native_request(*(context.address, NUMBERS[mode], False, 0, threading.get_ident(), 0, 0, token))
        if answer < 0:
            raise self._error(answer)
        return answer, token[0]

    def _ask_upgrade(self, hold: Hold, sleeper: int) -> bool:
        context = self._context_of(hold)
        watch = GateWatch(self.name)
        answer = context.upgrade(hold.token, sleeper)
        while answer == _BUSY:
            answer = lib.native_upgrade(context.address, hold.token, sleeper)
            watch.look(context)
        if answer == _CONFLICT:
            raise UpgradeConflict(
                "another guard is upgradable or upgrading, so that the two would wait for each other; "
                "release this one and acquire for writing, or read with upgradable() from the start"
            )
        if answer < 0:
            raise self._error(answer)
        return answer == _GRANTED

    def _finish(self, answer: int, context: Context, event: Callable[[], int]) -> None:
        """Through the sleeping door, for as long as it takes."""
        watch = GateWatch(self.name)
        while answer == _BUSY:
            answer = event()
            watch.look(context)
        if answer != _DONE:
            raise self._error(answer)

    def _context_of(self, hold: Hold) -> Context:
        """Also of one that was released during a wait, which the core then knows nothing of."""
        if hold.context is None or not (hold.token or hold.ending):
            raise self._error(_NOT_HELD)
        return hold.context

    def _error(self, answer: int) -> Exception:
        with self._mutex:  # Somebody may be about to close it: his waiters wake before he is through.
            closed = self._closed
        if closed:
            return LockClosed(f"{self.name} was closed in this process")
        if answer == _FULL:
            return self._full()
        if answer in {_NOT_HELD, _DETACHED}:
            return NotHeldError(
                "this guard holds nothing in this process: it was released before, never acquired, or belongs to the "
                "process that this one was forked from"
            )
        if answer == _CORRUPT:
            return _segment.damaged(self.name)
        return SegmentError(errno.EIO, f"the native core answered {answer}", self.name)

    def _full(self) -> SegmentFull:
        counts: dict[int, int] = {}
        for request in self.snapshot().requests:
            counts[request.pid] = counts.get(request.pid, 0) + 1
        most = sorted(counts.items(), key=lambda item: -item[1])
        users = ", ".join(f"process {pid} with {count}" for pid, count in most[:5])
        return SegmentFull(
            errno.ENOSPC,
            f"all {self.config.max_holds} places for holds and waiters are taken: {users}; "
            "make the lock with a larger max_holds",
            self.name,
        )


@final
class _Listening:
    """While a task waits: at the bell of its loop, and found by those who look for closed loops."""

    __slots__ = ("_backend", "_bell", "_core", "_hold", "_listener")

    def __init__(self, core: ProcessCore, hold: Hold, waiter: AsyncWaiter, backend: AsyncBackend) -> None:
        self._core = core
        self._hold = hold
        self._backend = backend
        self._listener = Listener(waiter, self._news, self._lost)
        self._bell: Bell | None = None

    def __enter__(self) -> int:
        """The number of the bell, 0 if there is none."""
        core = self._core
        if isinstance(self._backend, WatchingBackend):
            self._bell = core._bells.join(core.ready().place, self._backend, self._listener)
        return 0 if self._bell is None else self._bell.number

    def __exit__(self, *exc_info: object) -> None:
        if self._bell is not None:
            self._core._bells.leave(self._bell, self._listener)
        del self._listener  # The two know each other: only the collector could free them.

    def _news(self) -> bool:
        word = self._hold.word()
        return not word & STATE or bool(word & POKED) or (word & STATE == HELD and not word & PENDING)

    def _lost(self) -> None:
        if self._hold.upgrading:
            self._core.withdraw_upgrade(self._hold)
        elif self._hold.waiting:
            self._core.withdraw(self._hold)


def _deadline(timeout: float | None) -> int:
    """On the monotonic clock, in nanoseconds."""
    if timeout is None or timeout >= _FOREVER / 2e9:
        return _FOREVER
    return monotonic_ns() + int(max(timeout, 0.0) * 1e9)


def _nanoseconds(seconds: float) -> int:
    return _FOREVER if seconds >= _FOREVER / 2e9 else int(seconds * 1e9)


_cores: weakref.WeakSet[ProcessCore] = weakref.WeakSet()


class _Descriptor(Protocol):
    """What `multiprocessing` makes of a descriptor on its way."""

    def detach(self) -> int: ...


def _known(instance: bytes) -> ProcessCore | None:
    """The lock, if this process uses it already: a copy of a lock is that lock."""
    return next((c for c in tuple(_cores) if c.instance == instance and not c.closed), None)


def _rebuild_named(path: str, instance: bytes, mode: int) -> ProcessCore:
    core = _known(instance)
    if core is not None:
        return core
    core = ProcessCore.open(Path(path), None, mode=mode)
    if core.instance != instance:
        core.close()
        raise SegmentError(
            errno.ESTALE,
            "the lock was removed and made again since it was pickled; pickle the one that is in use now",
            path,
        )
    return core


def _rebuild_anonymous(descriptor: _Descriptor, instance: bytes) -> ProcessCore:
    fd = descriptor.detach()
    core = _known(instance)
    if core is not None:
        os.close(fd)
        return core
    return ProcessCore(_segment.adopt(fd, None, 0o600))


def _in_forked_child() -> None:
    for core in tuple(_cores):
        core.forked()


os.register_at_fork(after_in_child=_in_forked_child)
