"""What an idle lock takes up, fresh from its constructor, and after it has been used by one reader and one writer.

Counted twice: what Python's allocators have handed out, which is exact but does not see memory that C code takes
elsewhere; and by how much the process has grown, which sees everything, rounded to pages.
"""

from __future__ import annotations

import gc
import mmap
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import rivals
from benchmarks.forked import in_a_process
from rwlocks.cli._bench_contestants import Contestant, compiled
from rwlocks.cli._bench_pairs import RUNTIMES
from rwlocks.cli._bench_tables import Column, Figures, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["tables"]

COLUMNS = (
    Column(figure="new", heading="new, bytes", ratio=True),
    Column(figure="used", heading="used, bytes", ratio=True),
    Column(figure="resident", heading="used, resident bytes", ratio=True),
)

WORK = """\
def run(folder):
    {setup}
    def make():
        return {new}
    {a_sync}def use(locks):
        for lock in locks:
            {handles}
            {a_sync}with {read}:
                pass
            {a_sync}with {write}:
                pass
    return make, use
"""

LIMIT = 60.0
EVERYBODY = {
    "threads": rivals.THREADS,
    "asyncio": rivals.ASYNCIO,
    "trio": rivals.TRIO,
    # A lock over a file has no memory to speak of.
    "processes": tuple(each for each in rivals.PROCESSES if each.new != "None"),
}


def _measure(contestant: Contestant, runtime: str, locks: int, *, tell: Callable[[Figures], None], folder: str) -> None:
    a_sync, start = RUNTIMES[runtime]
    make, use = compiled(WORK, contestant, a_sync=a_sync)(folder)
    first = make()
    start(use, [first])  # whatever the first use imports, or makes once, is not the lock's
    gc.collect()
    tracemalloc.start()
    sample: list[Any] = [None] * locks
    began = tracemalloc.get_traced_memory()[0]
    for place in range(locks):
        sample[place] = make()
    tell({"new": (tracemalloc.get_traced_memory()[0] - began) / locks})
    start(use, sample)
    gc.collect()
    tell({"used": (tracemalloc.get_traced_memory()[0] - began) / locks})
    tracemalloc.stop()
    tell(_resident(lambda: [make() for _ in range(10 * locks)], lambda many: start(use, many)))


def _resident(make: Callable[[], list[Any]], use: Callable[[list[Any]], object]) -> Figures:
    """Figures of many locks at once, so that the pages come to something. Empty where no system tells."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return {}
    began = _pages(statm)
    locks = make()
    use(locks)
    return {"resident": (_pages(statm) - began) * mmap.PAGESIZE / len(locks)}


def _pages(statm: Path) -> int:
    return int(statm.read_text().split()[1])


def tables(given: Settings) -> Iterator[Table]:
    """One for each runtime."""
    for runtime in given.scaled(tuple(EVERYBODY), ("asyncio",)):
        locks = 20 if runtime == "processes" else given.scaled(1000, 10)

        def measure(contestant: Contestant, runtime: str = runtime, locks: int = locks) -> Figures:
            return in_a_process(_measure, contestant, runtime, locks, limit=LIMIT)

        yield fill(
            f"memory/{runtime}",
            f"{runtime}: memory of an idle lock",
            COLUMNS,
            given.chosen(EVERYBODY[runtime]),
            measure,
            rounds=1,  # bytes do not vary
            seed=given.seed,
        )
