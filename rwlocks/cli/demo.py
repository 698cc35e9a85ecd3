"""``rwlocks demo``: real locks, every runtime, every policy, processes that are killed; each step checked and drawn."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from typing import TYPE_CHECKING, Final, get_args

from rwlocks import ProcessRWLock, RWLock, features
from rwlocks._types import PolicyName
from rwlocks.cli._demo_plain import Plain
from rwlocks.cli._demo_screen import Screen
from rwlocks.cli._demo_verdict import judge
from rwlocks.cli._demo_workload import GRACE, PROCESSES, play, recruit
from rwlocks.cli._seconds import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from rwlocks.cli._demo_plain import View
    from rwlocks.cli._demo_raid import Raid
    from rwlocks.cli._demo_workload import Crew, Round

__all__ = ["HELP", "configure", "run"]

HELP: Final = "threads, asyncio, trio and processes on real locks, checked at every step and drawn live"

POLICIES: Final[tuple[PolicyName, ...]] = get_args(PolicyName)
SECONDS: Final = 6.0
RAID_SHARES: Final = 2
"""How many times as long as a round of one policy the processes are given."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo."""
    parser.epilog = "exit code: 0 without violations, 1 with any, 130 when interrupted"
    parser.add_argument(
        "--policy", choices=["all", *POLICIES], default="all", help="one policy (default: all, in turn)"
    )
    parser.add_argument(
        "--seconds",
        type=seconds("time to play"),
        default=SECONDS,
        help="how long, over all policies (default: %(default)g)",
    )
    parser.add_argument(
        "--seed", type=int, help="what the workers decide to do (default: random); when, is up to the machine"
    )


def run(options: argparse.Namespace) -> int:
    """Play the demo and return its exit code."""
    policies: Sequence[PolicyName] = POLICIES if options.policy == "all" else (options.policy,)
    seed = random.randrange(10_000) if options.seed is None else options.seed
    no_processes = _why_no_processes()
    crew = recruit(processes=not no_processes)
    share = options.seconds / (len(policies) + (RAID_SHARES if crew.processes else 0))
    stages = [*policies, *([PROCESSES] if crew.processes else [])]
    view = _view(crew, stages, seed)
    rounds: list[Round] = []
    raids: list[Raid] = []
    try:
        with view:
            for policy in policies:
                lock = RWLock(policy)
                rounds.append(play(lock, policy, crew, share, seed, view.look, GRACE))
            if crew.processes:
                default = None if options.policy == "all" else options.policy
                raids.append(_raid(default, crew, share * RAID_SHARES, seed, view))
    except KeyboardInterrupt:
        print(f"\nrwlocks demo: interrupted in round {len(rounds) + 1} of {len(stages)}, so there is no verdict")
        return 130
    verdict = judge(rounds, raids)
    view.report(rounds, verdict)
    _tell_what_is_left_out(no_processes)
    return verdict.exit_code


def _raid(policy: PolicyName | None, crew: Crew, seconds: float, seed: int, view: View) -> Raid:
    from rwlocks.cli._demo_raid import raid

    def make(path: Path) -> ProcessRWLock:
        return ProcessRWLock(path, policy)

    return raid(make, crew.processes, seconds, seed, view.look, GRACE)


def _why_no_processes() -> str:
    """What keeps a `ProcessRWLock` from being made; "" if nothing does."""
    (part,) = (part for part in features().parts if part.serves == "ProcessRWLock")
    return "" if part.compiled else part.about


def _tell_what_is_left_out(no_processes: str) -> None:
    missing = [
        f"{what} ({module} is not installed)"
        for module, what in (("rich", "the live view"), ("trio", "trio tasks"))
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        print(f"\nleft out: {', '.join(missing)}; run pip install 'rwlocks[demo]' to see it all")
    if no_processes:
        print(f"\nleft out: the processes, some of which are killed; {no_processes}")


def _view(crew: Crew, stages: Sequence[str], seed: int) -> View:
    """The best view that this output can show."""
    drawable = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and "utf" in sys.stdout.encoding.lower()
    if drawable and importlib.util.find_spec("rich") is not None:
        return Screen(crew, stages, seed)
    return Plain(crew, seed)
