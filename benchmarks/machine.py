"""What the figures depend on. No paths, no names of machines or people."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import rwlocks
from benchmarks import rivals

__all__ = ["core", "describe"]


def core() -> str:
    """Which core of `RWLock` is measured: "compiled" or "pure"."""
    compiled = {part.serves: part.compiled for part in rwlocks.features().parts}
    return "compiled" if compiled["RWLock"] else "pure"


def describe() -> dict[str, object]:
    """The machine, the interpreter, and the release of everything that is measured."""
    everybody = (*rivals.THREADS, *rivals.ASYNCIO, *rivals.TRIO, *rivals.PROCESSES)
    distributions = {"rwlocks", "anyio", *(each.distribution for each in everybody if each.distribution)}
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "interpreter's lock": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "core": core(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "releases": {name: _release(name) for name in sorted(distributions)},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _release(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
