"""``rwlocks demo``: one real lock, every runtime, every policy, each step checked and drawn."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import random
import sys
from typing import TYPE_CHECKING, Final, get_args

from rwlocks import RWLock
from rwlocks._types import PolicyName
from rwlocks.cli._demo_plain import Plain
from rwlocks.cli._demo_screen import Screen
from rwlocks.cli._demo_verdict import judge
from rwlocks.cli._demo_workload import GRACE, play, recruit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rwlocks.cli._demo_plain import View
    from rwlocks.cli._demo_workload import Crew, Round

__all__ = ["HELP", "configure", "run"]

HELP: Final = "threads, asyncio and trio on one lock, checked at every step and drawn live"

POLICIES: Final[tuple[PolicyName, ...]] = get_args(PolicyName)
SECONDS: Final = 6.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo."""
    parser.epilog = "exit code: 0 without violations, 1 with any, 130 when interrupted"
    parser.add_argument(
        "--policy", choices=["all", *POLICIES], default="all", help="one policy (default: all, in turn)"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=SECONDS, help="how long, over all policies (default: %(default)g)"
    )
    parser.add_argument(
        "--seed", type=int, help="what the workers decide to do (default: random); when, is up to the machine"
    )


def run(options: argparse.Namespace) -> int:
    """Play the demo and return its exit code."""
    policies: Sequence[PolicyName] = POLICIES if options.policy == "all" else (options.policy,)
    seed = random.randrange(10_000) if options.seed is None else options.seed
    crew = recruit()
    view = _view(crew, policies, seed)
    missing = [
        f"{what} ({module} is not installed)"
        for module, what in (("rich", "the live view"), ("trio", "trio tasks"))
        if importlib.util.find_spec(module) is None
    ]
    rounds: list[Round] = []
    try:
        with view:
            for policy in policies:
                lock, share = RWLock(policy), options.seconds / len(policies)
                rounds.append(play(lock, policy, crew, share, seed, view.look, GRACE))
    except KeyboardInterrupt:
        print(f"\nrwlocks demo: interrupted in round {len(rounds) + 1} of {len(policies)}, so there is no verdict")
        return 130
    verdict = judge(rounds)
    view.report(rounds, verdict)
    if missing:
        print(f"\nleft out: {', '.join(missing)}; run pip install 'rwlocks[demo]' to see it all")
    return verdict.exit_code


def _view(crew: Crew, policies: Sequence[str], seed: int) -> View:
    """The best view that this output can show."""
    drawable = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and "utf" in sys.stdout.encoding.lower()
    if drawable and importlib.util.find_spec("rich") is not None:
        return Screen(crew, policies, seed)
    return Plain(crew, seed)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no time to play; give seconds above 0")
    return seconds
