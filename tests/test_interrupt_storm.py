"""SIGINT at random moments: an acquisition is entered or given back, a release is done, nobody waits in vain.

Only the compiled variant promises that everywhere; plain Python can be interrupted between any two calls.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from _waits import POLICIES, fails_in_no_child, later, request

from rwlocks import Mode, RWLock, _variant

if TYPE_CHECKING:
    from types import FrameType

    from rwlocks._types import PolicyName

pytestmark = pytest.mark.skipif(
    _variant.slow_path_because is not None, reason=f"promised for compiled code: {_variant.slow_path_because}"
)

MODES: Final = tuple(Mode)
SENDER: Final = """
import os, random, signal, sys, time

process, signals = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(1)
sys.stdin.readline()
for _ in range(signals):
    os.kill(process, signal.SIGINT)
    until = time.perf_counter() + chance.random() * 0.0004
    while time.perf_counter() < until:
        pass
"""


class Strike:
    """A handler of SIGINT that raises once whenever it is armed: the loop around the lock is no part of the test."""

    def __init__(self) -> None:
        self.armed = False
        self.count = 0
        signal.signal(signal.SIGINT, self)

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            self.count += 1
            raise KeyboardInterrupt


def storm(signals: int, policy: PolicyName) -> None:
    """The main thread loops over a lock for which seven others fight, and is interrupted again and again."""
    lock = RWLock(policy)
    strike = Strike()
    ended = threading.Event()
    entered = dict.fromkeys(MODES, 0)

    def fight(seed: int) -> None:
        chance = Random(seed)
        while not ended.is_set():
            with request(lock, chance.choice(MODES)):
                time.sleep(0)  # so that the others find it held

    def watch(sender: subprocess.Popen[bytes]) -> None:
        sender.communicate(b"now\n")
        ended.set()

    crew = [threading.Thread(target=fight, args=(seed,), daemon=True) for seed in range(7)]
    sender = subprocess.Popen(
        [sys.executable, "-c", SENDER, str(os.getpid()), str(signals)], stdin=subprocess.PIPE, start_new_session=True
    )
    for member in (*crew, threading.Thread(target=watch, args=(sender,))):
        member.start()
    chance = Random(7)
    while not ended.is_set():
        mode = chance.choice(MODES)
        try:
            strike.armed = True
            with request(lock, mode):
                entered[mode] += 1
            strike.armed = False
        except KeyboardInterrupt:
            pass
    for member in crew:
        member.join(30)
    seen = lock.statistics()
    assert not any(member.is_alive() for member in crew), f"somebody waits in vain: {seen}"
    assert (seen.holders, seen.waiters) == ((), ()), f"somebody was left behind: {seen}"
    assert strike.count, "nothing was interrupted"
    lock._core.monitor.engine.check_invariants()


@pytest.mark.parametrize("policy", ["fifo", *later(POLICIES, besides="fifo")])
def test_interrupts_at_random_moments_leave_nothing_behind(policy: PolicyName) -> None:
    fails_in_no_child(partial(storm, 2_000, policy))


@pytest.mark.slow
def test_a_hundred_thousand_interrupts() -> None:
    fails_in_no_child(partial(storm, 100_000, "fifo"), within=110)
