"""``python -m benchmarks``: everything, or the parts that are named."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    doors,
    handover,
    imports,
    machine,
    memory,
    pairs,
    patience,
    plots,
    processes,
    recovery,
    sharing,
    tasks,
    threads,
    waiters,
)
from benchmarks.report import as_json
from benchmarks.settings import Settings
from benchmarks.targets import judge
from rwlocks.cli._bench_tables import Unfit, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.settings import Work
    from benchmarks.targets import Verdict
    from rwlocks.cli._bench_tables import Table

PARTS: dict[str, Work] = {
    "pairs": pairs,
    "threads": threads,
    "tasks": tasks,
    "processes": processes,
    "doors": doors,
    "handover": handover,
    "waiters": waiters,
    "memory": memory,
    "imports": imports,
    "patience": patience,
    "recovery": recovery,
    "sharing": sharing,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep what is to be kept; the exit code is 1 if one of our locks is unfit."""
    given = _parser().parse_args(arguments)
    rounds = given.rounds or (1 if given.quick else 5)
    settings = Settings(rounds=rounds, quick=given.quick, only=given.only, seed=given.seed)
    about = machine.describe()
    for what, value in about.items():
        print(f"{what}: {value}")
    try:
        tables = _measure(given.parts or list(PARTS), settings, _circumstances(about))
    except Unfit as error:
        print(f"\nunfit: {error}", file=sys.stderr)
        return 1
    verdicts = list(judge({table.key: table for table in tables}, _circumstances(about)))
    _summary(verdicts, settings.missing)
    if given.save is not None:
        name = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}-{about['core']}"
        given.save.mkdir(parents=True, exist_ok=True)
        document = as_json(about, tables, verdicts, sorted(settings.missing))
        (given.save / f"{name}.json").write_text(document, encoding="utf-8")
        plots.draw(tables, given.save, name)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Us and every rival, in one run.")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--quick", action="store_true", help="show that it runs; the figures mean little")
    parser.add_argument("--rounds", type=int, help="how often everybody runs (5; quick: 1)")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="contestants whose name has such a word")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which they run, and of the mix of modes")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep figures (JSON) and plots (SVG) there")
    return parser


def _measure(parts: Sequence[str], settings: Settings, circumstances: set[str]) -> list[Table]:
    tables: dict[str, Table] = {}
    for part in parts:
        began = time.monotonic()
        for table in PARTS[part].tables(settings):
            tables[table.key] = table
            about_it = [verdict for verdict in judge(tables, circumstances) if verdict.table == table.key]
            print("\n".join([*lines(table), *map(str, about_it)]), flush=True)
        print(f"\n({part}: {time.monotonic() - began:.0f} s)", flush=True)
    return list(tables.values())


def _circumstances(about: dict[str, object]) -> set[str]:
    return {str(about["core"]), *([] if about["interpreter's lock"] else ["without the GIL"])}


def _summary(verdicts: Sequence[Verdict], missing: set[str]) -> None:
    print("\nTargets")
    row = ""
    for verdict in verdicts:
        if verdict.target.row != row:
            row = verdict.target.row
            print(f"\n{row}")
        print(f"  {verdict.table}: {verdict}")
    print(f"\n{sum(v.met is True for v in verdicts)} met, {sum(v.met is False for v in verdicts)} missed")
    for one in sorted(missing):
        print(f"not measured: {one}")


if __name__ == "__main__":
    raise SystemExit(main())
