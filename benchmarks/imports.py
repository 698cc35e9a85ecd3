"""How long an import takes, in a fresh interpreter that has loaded nothing of its own accord."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rwlocks
from benchmarks import rivals
from rwlocks.cli._bench_contestants import Contestant
from rwlocks.cli._bench_tables import Column, Figures, Unfit, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["tables"]

COLUMNS = (
    Column(figure="import", heading="ms", scale=1e3, digits=2, ratio=True),
    Column(figure="modules", heading="modules"),
)

# Without site-packages' start-up files, which may load anything before we look.
PROGRAM = """\
import sys
sys.path[:0] = sys.argv[1:]
from time import perf_counter
loaded = len(sys.modules)
began = perf_counter()
{statement}
print(perf_counter() - began, len(sys.modules) - loaded)
"""


PLACES = list(dict.fromkeys([str(Path(rwlocks.__file__).parents[1]), sysconfig.get_path("purelib")]))


def _imports(name: str, setup: str) -> Contestant:
    return Contestant(name=name, role="reference", setup=setup, new="None", read="", write="")


def _everybody() -> tuple[Contestant, ...]:
    yardstick = replace(_imports("typing, enum, threading", "import typing, enum, threading"), role="yardstick")
    ours = replace(_imports("rwlocks", "import rwlocks"), role="ours")
    known = [_imports(name, f"import {name}") for name in ("asyncio", "multiprocessing")]
    # The set-up of a rival is what its users import; one entry for each distribution is enough.
    theirs = {each.distribution: each for each in (*rivals.THREADS, *rivals.ASYNCIO, *rivals.TRIO, *rivals.PROCESSES)}
    return (yardstick, ours, *known, *(replace(each, name=name) for name, each in theirs.items() if name))


def _measure(contestant: Contestant) -> Figures:
    program = PROGRAM.format(statement=contestant.setup)
    command = [sys.executable, "-I", "-S", "-c", program, *PLACES]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        raise Unfit(child.stderr)
    seconds, modules = child.stdout.split()
    return {"import": float(seconds), "modules": float(modules)}


def tables(given: Settings) -> Iterator[Table]:
    """One."""
    yield fill(
        "imports",
        "one import in a fresh interpreter",
        COLUMNS,
        given.chosen(_everybody()),
        _measure,
        rounds=given.scaled(4, 1) * given.rounds,
        seed=given.seed,
    )
