"""The same random schedules on aiorwlock and on ours, step by step: who gets in when, and what each side shows then."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final, NamedTuple

import pytest
from _originals import turns

from rwlocks.compat import aiorwlock

pytestmark = [pytest.mark.compat, pytest.mark.timeout(300)]

SCHEDULES: Final = 500


class Visit(NamedTuple):
    """One block of a task, perhaps with another one inside. All times are turns of the loop."""

    before: int
    side: str
    inside: int
    nested: str | None
    deep_inside: int


def a_visit(dice: random.Random) -> Visit:
    side = dice.choice(["reader", "reader", "writer"])
    nested = dice.choice([None, None, side, "reader" if side == "writer" else "upgrade"])
    return Visit(dice.randint(0, 4), side, dice.randint(0, 3), nested, dice.randint(0, 3))


async def trace(lock: Any, dice: random.Random) -> list[object]:
    """What happens, in order. ``lock`` is theirs or ours."""
    seen: list[object] = []

    def note(*what: object) -> None:
        seen.append((*what, lock.reader.locked, lock.writer.locked))

    async def act(name: int, visits: list[Visit]) -> None:
        for visit in visits:
            await turns(visit.before)
            note(name, "wants", visit.side)
            async with getattr(lock, visit.side):
                note(name, "is in", visit.side)
                await turns(visit.inside)
                if visit.nested == "upgrade":
                    with pytest.raises(RuntimeError, match="Cannot upgrade RWLock from read to write"):
                        await lock.writer.acquire()
                elif visit.nested is not None:
                    async with getattr(lock, visit.nested):
                        note(name, "is deep in", visit.nested)
                        await turns(visit.deep_inside)
            note(name, "is out of", visit.side)

    actors = [[a_visit(dice) for _ in range(dice.randint(1, 4))] for _ in range(dice.randint(2, 7))]
    await asyncio.gather(*[act(name, visits) for name, visits in enumerate(actors)])
    return seen


@pytest.mark.parametrize("fast", [False, True])
def test_tasks_get_in_when_they_did_on_the_original(fast: bool) -> None:
    original = pytest.importorskip(
        "aiorwlock", reason="NOT TESTED: aiorwlock itself is missing; install '.[compat-test]'"
    )
    for seed in range(SCHEDULES):
        theirs = asyncio.run(trace(original.RWLock(fast=fast), random.Random(seed)))
        ours = asyncio.run(trace(aiorwlock.RWLock(fast=fast), random.Random(seed)))
        assert (seed, ours) == (seed, theirs)
