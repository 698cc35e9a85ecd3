"""One request, then one hold, and how the words of its record are read; see csrc/layout.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwlocks._types import Mode

if TYPE_CHECKING:
    from rwlocks.backends.process._fast import Context
    from rwlocks.backends.process._native import Out

__all__ = ["HELD", "MODES", "NUMBERS", "PENDING", "POKED", "SPENT", "STATE", "Hold"]

STATE, HELD, PENDING, POKED, SPENT = 0x3, 2, 0x40, 0x80, 0x100

NUMBERS: Final = {Mode.READ: 1, Mode.UPGRADABLE: 2, Mode.WRITE: 3}
MODES: Final = {number: mode for mode, number in NUMBERS.items()}


class Hold:
    """One request, then one hold. Everything about it stands in the segment, but for where that is.

    The defaults stand in the class, which makes an undisputed acquisition cheaper.
    """

    context: Context | None = None
    token = 0
    """Which record, and which use of it; 0 before the request and after its end."""
    over = False
    """Whether it was released or withdrawn."""
    ending = False
    """Whether somebody has set out to release it, so that a waiter who finds its record gone knows why."""
    cell: Out | None = None
    """Where the token appears, during a call that has let go of the interpreter's lock."""
    arrival = 0
    """The rank of an earlier request whose place it takes."""
    wanted = 0
    """When it first asked, if that was before this request; nanoseconds of the monotonic clock."""

    def word(self) -> int:
        """What the record says now; 0 if there is none."""
        token = self.token or self.known()
        return 0 if self.context is None or not token else self.context.peek(token)

    def known(self) -> int:
        """The token, from the instant of the request on."""
        cell = self.cell
        return self.token if cell is None else self.token or cell[0]

    @property
    def held(self) -> bool:
        """Whether it holds the lock; true from the instant of the grant."""
        return self.word() & STATE == HELD

    @property
    def waiting(self) -> bool:
        """Whether it stands in the queue."""
        return self.word() & STATE == 1

    @property
    def upgrading(self) -> bool:
        """Whether it holds the lock and waits to become the writer."""
        return bool(self.word() & PENDING)

    @property
    def mode(self) -> Mode | None:
        """The mode held or waited for; None if there is no request."""
        word = self.word()
        return MODES.get(word >> 2 & 3) if word & STATE else None

    @property
    def base(self) -> Mode | None:
        """The mode to go back to, while it upgrades or is upgraded."""
        return MODES.get(self.word() >> 4 & 3)

    @property
    def inherited(self) -> bool:
        """Whether it was made before this process was forked, so that it is not ours."""
        return self.context is not None and bool(self.token) and not self.context.attached
