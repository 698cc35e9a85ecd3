"""What all kinds of work are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from rwlocks.cli._bench_contestants import choose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rwlocks.cli._bench_contestants import Contestant
    from rwlocks.cli._bench_tables import Table

__all__ = ["Settings", "Work"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How thoroughly to measure whom. Quick: every line of code runs, and the figures mean little."""

    rounds: int
    quick: bool
    only: list[str]
    seed: int
    missing: set[str] = field(default_factory=set[str])
    """Who could not be measured, and why; filled in by `chosen`."""

    def chosen(self, everybody: tuple[Contestant, ...], *, whole: bool = False) -> list[Contestant]:
        """Those who are asked for and there; all who are there if ``whole``."""
        chosen, missing = choose(everybody, [] if whole else self.only)
        self.missing.update(missing)
        return chosen

    def scaled(self, full: T, quick: T) -> T:
        """One of two sizes of work."""
        return quick if self.quick else full


class Work(Protocol):
    """A module with one kind of work."""

    def tables(self, given: Settings) -> Iterator[Table]:
        """Measure, one table after the other."""
        ...
