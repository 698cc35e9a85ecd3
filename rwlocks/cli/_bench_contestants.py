"""Who is measured, as data.

A contestant is source text, as for `timeit`: the timed loop is compiled around it, so that nobody pays for a wrapper
that its users would not call, and everybody is used as its own documentation does. `rwlocks bench` knows this library
and the locks that every Python has; `benchmarks/` in the source tree adds the rivals.
"""

from __future__ import annotations

import importlib.metadata
import textwrap
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ASYNCIO", "PROCESSES", "THREADS", "Contestant", "choose", "compiled", "ours", "plain"]

POLICIES: Final = ("fifo", "phase-fair", "writer-pref", "reader-pref")


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One lock. All but the names is source; in it ``folder`` is the path of an empty folder, made for the occasion."""

    name: str
    role: Literal["yardstick", "ours", "rival", "reference"] = "rival"
    """A reference shows what is possible; it is compared with nobody."""
    setup: str
    """Statements, once: imports, and what the rest needs."""
    new: str
    """The expression for a new lock, which will be called ``lock``."""
    read: str
    """The expression for ``with`` and ``async with``, evaluated each time."""
    write: str
    handles: str = "pass"
    """Statements: what each thread, task or process keeps for itself, where the interface wants that."""
    distribution: str | None = None
    """The distribution to install; None for this library and for what every Python has."""
    excludes: bool = True
    """Whether it is a lock at all."""

    @property
    def label(self) -> str:
        """Its name, with the release that is measured."""
        if self.distribution is None:
            return self.name
        try:
            return f"{self.name} {importlib.metadata.version(self.distribution)}"
        except importlib.metadata.PackageNotFoundError:
            return self.name

    def missing(self) -> str | None:
        """Why it cannot be measured here; None if it can."""
        try:
            with TemporaryDirectory() as folder:
                compiled("def run(folder):\n    {setup}\n    {new}", self)(folder)
        except ImportError as error:
            return f"pip install {self.distribution}" if self.distribution else str(error)
        return None


def plain(name: str, distribution: str | None = None) -> Contestant:
    """A yardstick: ``module.Lock``, which has no modes, so that reading excludes, too."""
    module, _, lock = name.rpartition(".")
    return Contestant(
        name=name,
        role="yardstick",
        setup=f"from {module} import {lock}",
        new=f"{lock}()",
        read="lock",
        write="lock",
        distribution=distribution,
    )


def ours(name: str, new: str) -> Contestant:
    """A lock of this library, made by ``new``."""
    return Contestant(
        name=f"rwlocks {name}",
        role="ours",
        setup="from rwlocks import RWLock, policies"
        if new.startswith("RWLock")
        else "from rwlocks import ProcessRWLock, policies",
        new=new,
        read="lock.read()",
        write="lock.write()",
    )


def choose(everybody: tuple[Contestant, ...], wanted: list[str]) -> tuple[list[Contestant], list[str]]:
    """Those whose name contains one of ``wanted`` (all, if that is empty), and the yardsticks; and who is missing."""
    chosen = [c for c in everybody if c.role == "yardstick" or not wanted or any(word in c.name for word in wanted)]
    missing = {contestant.name: reason for contestant in chosen if (reason := contestant.missing()) is not None}
    return [c for c in chosen if c.name not in missing], [f"{name} ({why})" for name, why in missing.items()]


def compiled(template: str, contestant: Contestant, **more: str) -> Callable[..., Any]:
    """The function ``run`` of the template, written out for this contestant."""
    pieces = {**vars(contestant), **more}
    lines: list[str] = []
    for line in template.splitlines():
        code = line.lstrip()
        # A piece of several lines stands alone in its line, and takes over the margin.
        lines.append(textwrap.indent(code.format(**pieces), line[: len(line) - len(code)]))
    names: dict[str, Callable[..., Any]] = {}
    exec(compile("\n".join(lines), f"<{contestant.name}>", "exec"), names)  # noqa: S102  as timeit does, our own text
    return names["run"]


# The first of each is the yardstick.
THREADS: Final = (plain("threading.Lock"), *(ours(policy, f"RWLock({policy!r})") for policy in POLICIES))
ASYNCIO: Final = (plain("asyncio.Lock"), *THREADS[1:])
PROCESSES: Final = (
    plain("multiprocessing.Lock"),
    *(ours(policy, f"ProcessRWLock(None, {policy!r})") for policy in POLICIES),
)
