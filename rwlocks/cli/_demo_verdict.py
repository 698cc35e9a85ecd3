"""What the records of the demo say: numbers for each policy, what went on at each instant, and the verdict."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from rwlocks import Mode
from rwlocks.cli._demo_workload import PROCESSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rwlocks.cli._demo_raid import Death, Raid
    from rwlocks.cli._demo_workload import Round

__all__ = ["Instant", "Summary", "Verdict", "judge", "timeline"]


class Instant(NamedTuple):
    """Who was where at one instant: numbers of workers."""

    readers: int
    """Inside, those that might have become the writer included."""
    writers: int
    waiting_readers: int
    waiting_writers: int


class Summary(NamedTuple):
    """One round in numbers."""

    policy: str
    throughput: float
    """Requests granted per second."""
    reader_wait: float
    """The longest that somebody waited in order to read, in seconds; also if it gave up in the end."""
    writer_wait: float
    given_up: int
    """Requests that ended in a timeout or a cancellation."""
    violations: int


class Verdict(NamedTuple):
    """All rounds."""

    summaries: tuple[Summary, ...]
    granted: int
    violations: tuple[str, ...]
    deaths: tuple[Death, ...] = ()
    """Of worker processes, each killed while it used the lock."""

    @property
    def exit_code(self) -> int:
        """1 if a lock ever failed to protect its data, or lost somebody, the dead excepted."""
        return 1 if self.violations else 0

    @property
    def recoveries(self) -> tuple[float, ...]:
        """For each death after which another one got in, the seconds that this took; the shortest first."""
        return tuple(sorted(death.recovery for death in self.deaths if death.recovery is not None))


def judge(rounds: Sequence[Round], raids: Sequence[Raid] = ()) -> Verdict:
    """The verdict on these rounds, and on those of the processes."""
    return Verdict(
        (*map(_summary, rounds), *map(_summary_of_raid, raids)),
        sum(wait.granted for each in rounds for wait in each.waits) + sum(each.granted for each in raids),
        (
            *(f"{each.policy}: {what}" for each in rounds for what in each.violations),
            *(f"{PROCESSES}: {what}" for each in raids for what in each.violations),
        ),
        tuple(death for each in raids for death in each.deaths),
    )


def timeline(played: Round, instants: int, step: float) -> list[Instant]:
    """The busiest stretch of a round: that many instants, ``step`` seconds apart."""
    begin = _busiest(played, instants * step)
    moments = [begin + step * n for n in range(instants)]
    rows = [[0] * instants for _ in Instant._fields]
    readers, writers, waiting_readers, waiting_writers = rows
    for stretches, reading, writing in (
        (played.holds, readers, writers),
        (played.waits, waiting_readers, waiting_writers),
    ):
        for stretch in stretches:
            row = writing if stretch.mode is Mode.WRITE else reading
            for n, moment in enumerate(moments):
                row[n] += stretch.since <= moment < stretch.until
    return [Instant(*column) for column in zip(*rows, strict=True)]


def _busiest(played: Round, span: float) -> float:
    """When those ``span`` seconds begin in which most got in: elsewhere the machine may have had other things to do."""
    entries = sorted(hold.since for hold in played.holds)
    counts = [bisect_left(entries, entry + span) - n for n, entry in enumerate(entries)]
    return entries[counts.index(max(counts))] if entries else 0.0


def _summary(played: Round) -> Summary:
    longest = {True: 0.0, False: 0.0}
    for wait in played.waits:
        writing = wait.mode is Mode.WRITE
        longest[writing] = max(longest[writing], wait.until - wait.since)
    granted = sum(wait.granted for wait in played.waits)
    return Summary(
        played.policy,
        granted / played.seconds if played.seconds else 0.0,
        reader_wait=longest[False],
        writer_wait=longest[True],
        given_up=len(played.waits) - granted,
        violations=len(played.violations),
    )


def _summary_of_raid(played: Raid) -> Summary:
    return Summary(
        PROCESSES,
        played.granted / played.seconds if played.seconds else 0.0,
        reader_wait=played.reader_wait,
        writer_wait=played.writer_wait,
        given_up=played.given_up,
        violations=len(played.violations),
    )
