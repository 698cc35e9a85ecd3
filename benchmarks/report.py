"""What is kept of a run: every figure of every round, what they depend on, and the verdicts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.targets import Verdict
    from rwlocks.cli._bench_tables import Table

__all__ = ["as_json"]


def as_json(
    machine: Mapping[str, object], tables: Sequence[Table], verdicts: Sequence[Verdict], missing: Sequence[str]
) -> str:
    """A readable JSON document: times in seconds, rates per second, four digits."""
    document = {
        "machine": machine,
        "missing": list(missing),
        "verdicts": [_verdict(verdict) for verdict in verdicts],
        "tables": [_table(table) for table in tables],
    }
    text = json.dumps(document, indent=1)
    for inner in (r"\[\s+([^][{}]*?)\s+(\])", r"\{\s+([^{}]*?)\s+(\})"):  # one line for each contestant and verdict
        text = re.sub(inner, lambda found: f"{found[0][0]}{' '.join(found[1].split())}{found[2]}", text)
    return text + "\n"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    target = verdict.target
    return {
        "work": target.row,
        "table": verdict.table,
        "who": target.who,
        "figure": target.figure,
        "unit": target.to,
        "to": verdict.to,
        "target": f"{target.bound} {target.limit:g}",
        "value": _digits(verdict.value),
        "met": verdict.met,
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "key": table.key,
        "title": table.title,
        "unfit": table.notes,
        "rounds": {
            label: {column.figure: list(map(_digits, table.values(label, column.figure))) for column in table.columns}
            for label in table.results
        },
    }


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
