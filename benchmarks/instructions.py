"""``python -m benchmarks.instructions``: what an undisputed pair costs, counted instead of timed.

Instructions do not depend on what else the machine does, so that a limit can be tight: a pair may not come to cost
more than 5 % above its stored ratio to ``with threading.Lock()``. The counts are differences of two run lengths, with
all else equal, so that the start of the interpreter and the imports fall out: one run does every pair so many times,
and one more run for each pair does that one twice as often. All under ``valgrind --tool=callgrind``, with hashes that
are not random, and without the cyclic collector. Where there is no valgrind nothing is checked, and that is said.

The ratios depend on the Python and on the core of our locks, and are stored for each minor version and core.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.machine import core
from rwlocks.cli._bench_contestants import ASYNCIO, PROCESSES, THREADS, Contestant
from rwlocks.cli._bench_pairs import block, repeat

if TYPE_CHECKING:
    from collections.abc import Sequence

STORED: Final = Path(__file__).with_name("instructions.json")
CHECKOUT: Final = Path(__file__).resolve().parents[1]
PAIRS: Final = 300
GROWTH: Final = 1.05
VALGRIND: Final = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")


class Pair(NamedTuple):
    """An acquisition and its release."""

    contestant: Contestant
    runtime: str
    mode: str

    def __str__(self) -> str:
        return f"{self.runtime}: {self.contestant.name}, {self.mode}"


def _pairs() -> list[Pair]:
    """Ours and the yardsticks; `threading.Lock` first, the unit of all ratios."""
    pairs: list[Pair] = []
    for runtime, (yardstick, ours, *_) in {"threads": THREADS, "asyncio": ASYNCIO, "processes": PROCESSES}.items():
        if ours.missing() is None:
            pairs.append(Pair(yardstick, runtime, "write"))
            pairs += [Pair(ours, runtime, mode) for mode in ("read", "write")]
    return pairs


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, compare with what is stored, and return the exit code: 1 if something has grown too much."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions", description="Count instructions of undisputed pairs."
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="in the shorter run (default: %(default)s)")
    parser.add_argument("--store", action="store_true", help="store the ratios instead of comparing them")
    parser.add_argument("--run", nargs="+", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.run is not None:
        _run(given.run)
        return 0
    if shutil.which("valgrind") is None:
        print("SKIPPED: no instructions are counted, for valgrind is not installed (apt-get install valgrind)")
        return 0
    ratios = _ratios(given.pairs)
    key = f"{sys.version_info.major}.{sys.version_info.minor} {core()}"
    known: dict[str, dict[str, float]] = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    if given.store:
        known[key] = {pair: round(ratio, 3) for pair, ratio in ratios.items()}
        STORED.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return _compare(key, ratios, known.get(key, {}))


def _run(times: Sequence[int]) -> None:
    """What is counted: each pair so many times."""
    gc.disable()
    for pair, length in zip(_pairs(), times, strict=True):
        with TemporaryDirectory() as folder:
            repeat(pair.contestant, pair.runtime, block(*pair), folder, length, 0.0)


def _ratios(length: int) -> dict[str, float]:
    pairs = _pairs()
    shortest = [length] * len(pairs)
    runs = [shortest, *([*shortest[:place], 2 * length, *shortest[place + 1 :]] for place in range(len(pairs)))]
    subprocess.run(_command(shortest), cwd=CHECKOUT, check=True)  # leaves the bytecode that the others find
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        base, *longer = pool.map(_count, runs)
    unit = longer[0] - base
    return {str(pair): (count - base) / unit for pair, count in zip(pairs, longer, strict=True)}


def _command(times: Sequence[int]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.instructions", "--run", *map(str, times)]


def _count(times: Sequence[int]) -> int:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [*VALGRIND, *_command(times)]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"valgrind has counted nothing:\n{done.stderr}")
    return int(found[1])


def _compare(key: str, ratios: dict[str, float], known: dict[str, float]) -> int:
    print(f"\n{key}: instructions of one acquisition and release, times those of threading.Lock\n")
    grown = 0
    for pair, ratio in ratios.items():
        stored = known.get(pair)
        if stored is None:
            said = "nothing is stored to compare it with; --store does"
        elif ratio > stored * GROWTH:
            said = f"HAS GROWN from {stored:.3f}"
            grown += 1
        elif ratio * GROWTH < stored:
            said = f"has shrunk from {stored:.3f}; --store keeps it so"
        else:
            said = f"stored: {stored:.3f}"
        print(f"{pair:40} {ratio:7.3f}   {said}")
    if grown:
        print(f"\n{grown} of them by more than 5 %: find out why, or, if it must be, store them with --store")
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
