"""The native core in C: sanitized, scribbled over, and killed at every instruction.

All kill points, about twenty seconds of stepping, and then a larger sample of real deaths::

    python -m pytest -m slow tests/test_native.py
"""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest
from _compile import CORE, compiled

if TYPE_CHECKING:
    from pathlib import Path

LOCK = [*CORE, "gate.c", "lock.c", "os_linux.c", "wait_futex.c", "wait_fifo.c"]
ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("-fsanitize=thread",)
PORTABLE = ("-DRWL_PORTABLE",)
REFUSED = 77


def run(program: Path, *arguments: object, **environment: str) -> str:
    command = [str(program), *map(str, arguments)]
    env = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode == REFUSED:
        pytest.skip("ptrace is refused here")
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-6000:])
    return done.stdout


def seed() -> int:
    return random.randrange(1_000_000)


@pytest.mark.parametrize("flags", [ADDRESS, THREAD], ids=["address", "thread"])
@pytest.mark.parametrize("variant", [(), PORTABLE], ids=["futex", "fifo"])
def test_threads_keep_each_other_out(tmp_path: Path, flags: tuple[str, ...], variant: tuple[str, ...]) -> None:
    program = compiled(tmp_path / "threads", *LOCK, "threads.c", flags=(*flags, *variant))
    run(program, 1000, seed(), BELLS=f"{tmp_path}/bell.")


def test_random_bytes_do_no_harm(tmp_path: Path) -> None:
    program = compiled(tmp_path / "scribble", *LOCK, "scribble.c", flags=ADDRESS)
    run(program, 4000, seed())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_random_bytes_do_no_harm(tmp_path: Path) -> None:
    program = compiled(tmp_path / "scribble", *LOCK, "scribble.c", flags=ADDRESS)
    run(program, 500_000, seed())


@pytest.fixture(scope="module")
def killpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("kill") / "killpoints", *LOCK, "killpoints.c")


def test_deaths_at_the_instructions_of_some_scenes(killpoints: Path) -> None:
    run(killpoints, "snapshots", 10, seed())


def test_deaths_at_the_fault_points_of_all_scenes(tmp_path: Path) -> None:
    flags = ("-DRWL_FAULT_POINTS",)
    program = compiled(tmp_path / "killpoints", *LOCK, "killpoints.c", flags=flags)
    run(program, "snapshots", 100, seed())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_deaths_at_every_instruction(killpoints: Path) -> None:
    run(killpoints, "snapshots", 100, seed())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_real_deaths(killpoints: Path) -> None:
    """At a random sample of the instructions, in per cent; beyond a start-up of half a minute each takes its time."""
    run(killpoints, "kills", float(os.environ.get("RWLOCKS_TEST_KILLS", "0.01")), seed())
