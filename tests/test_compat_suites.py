"""The test suites of the originals, unmodified and fetched when they are needed, pass on `rwlocks.compat`.

Except for the cases listed here, each with its reason; and these do fail, so that the list has no case too many.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from _originals import outcomes, put_in_the_place_of, python, unpacked_sdist

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = [pytest.mark.compat, pytest.mark.timeout(900)]


class Suite(NamedTuple):
    """The tests of one source distribution, and the module of ours that they are to test."""

    distribution: str
    version: str
    name: str
    """What the tests import; our module has the same name."""
    tests: str
    """The folder of the tests, in the distribution. It is copied, so that the original beside it is not found."""
    cases: int
    """How many there are, counted on the original."""
    exceptions: Mapping[str, str]
    """Patterns of cases that cannot pass, and why."""
    options: tuple[str, ...]
    """What the settings of the distribution say, which are not copied."""
    text: str
    """The file with the examples."""
    example: str
    """What finds them in it."""
    examples: int
    outdated: Mapping[str, tuple[int, int]] = {}
    """Cases that use what that Python removed, so that they fail on the original, too."""

    def excepted(self, case: str) -> list[str]:
        return [pattern for pattern in self.exceptions if fnmatch(case, pattern)]


SUITES: Final = [
    Suite(
        "aiorwlock",
        "1.4.0",  # the last one with tests
        "aiorwlock",
        "tests",
        51,
        {
            "test_rwlock::test_ctor_loop_*": "asks a private attribute for the loop, which our lock has none of",
            "test_rwlock::test_ctor_noloop_*": "asks a private attribute for the loop, which our lock has none of",
            "test_rwlock::test_*_ambiguous_loops[[]*]": "binds a free lock to a loop (D9), by a private attribute",
        },
        ("-W", "error", "-o", "asyncio_mode=strict"),
        "README.rst",
        r"^\.\. code:: python\n\n((?:(?:   [^\n]*)?\n)+)",
        1,
    ),
    Suite(
        "asyncio-multilock",
        "0.2.0",
        "asyncio_multilock",
        "tests",
        60,
        {
            "test_multilock*::test_acquire_wait_when_exclusive[[]*]": "looks for the waiter in a private dict",
            "test_multilock::test_acquire_wait_exclusive_when_locked[[]*]": "looks for the waiter in a private dict",
        },
        ("-o", "asyncio_mode=auto"),
        "README.md",
        r"^```python\n(.*?)^```\n",
        3,
    ),
    Suite(
        "prwlock",
        "0.4.1",
        "prwlock",
        "prwlock/tests",
        12,
        {
            "RWLockTestCase::test_deserialization": "compares private attributes",
            "RWLockTestCase::test_cleanup": "closes a descriptor, by a private attribute",
        },
        (
            "-k",
            "not test_wrwlock",
        ),
        "README.rst",
        r"^\.\. code-block:: python\n\n((?:(?:    [^\n]*)?\n)+)",
        3,
        {"RWLockTestCase::test_deserialization": (3, 12)},
    ),
]

each_suite = pytest.mark.parametrize("suite", SUITES, ids=[suite.distribution for suite in SUITES], scope="module")


@pytest.fixture(scope="module")
def sdist(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_sdist(suite.distribution, suite.version, tmp_path_factory.mktemp(suite.distribution))


@pytest.fixture
def ours(suite: Suite, tmp_path: Path) -> dict[str, str]:
    return put_in_the_place_of(suite.name, f"rwlocks.compat.{suite.name}", tmp_path / "ours")


def run(suite: Suite, sdist: Path, environment: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    tests = tmp_path / "tests"
    shutil.copytree(sdist / suite.tests, tests)
    # A file of settings of its own, or pytest would look for one in the folders above.
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    options = ["-c", str(tmp_path / "pytest.ini"), "--timeout=20", *suite.options]
    return outcomes([*options, str(tests)], tmp_path, environment, tmp_path / "report.xml")


@each_suite
def test_the_suite_passes_on_our_module(suite: Suite, sdist: Path, ours: Mapping[str, str], tmp_path: Path) -> None:
    found = run(suite, sdist, ours, tmp_path)
    assert len(found) == suite.cases
    wrong = {case: what for case, what in found.items() if (what == "passed") == bool(suite.excepted(case))}
    assert not wrong
    assert {pattern for case in found for pattern in suite.excepted(case)} == set(suite.exceptions)


@each_suite
def test_the_suite_passes_on_the_original(suite: Suite, sdist: Path, tmp_path: Path) -> None:
    pytest.importorskip(suite.name, reason=f"NOT TESTED: {suite.name} itself is missing; install '.[compat-test]'")
    found = run(suite, sdist, {}, tmp_path)
    assert len(found) == suite.cases
    outdated = {case for case, since in suite.outdated.items() if sys.version_info >= since}
    assert {case for case, what in found.items() if what != "passed"} == outdated


# An example does not wait for its pool.
EXCEPT_FOR_POOLS = ["-W", "error", "-W", "ignore:unclosed running multiprocessing pool:ResourceWarning"]

# The examples of a text may await outside of any function.
RUN_AN_EXAMPLE = """
import ast, asyncio, inspect, pathlib, sys

code = compile(pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[1], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
made = eval(code, {"__name__": "__main__"})
if inspect.iscoroutine(made):
    asyncio.run(made)
"""


@each_suite
def test_the_examples_run_on_our_module(suite: Suite, sdist: Path, ours: Mapping[str, str], tmp_path: Path) -> None:
    text = (sdist / suite.text).read_text(encoding="utf-8")
    found = re.findall(suite.example, text, re.MULTILINE | re.DOTALL)
    assert len(found) == suite.examples
    for number, code in enumerate(found):
        program = tmp_path / f"example_{number}.py"
        program.write_text(textwrap.dedent(code), encoding="utf-8")
        done = python([*EXCEPT_FOR_POOLS, "-c", RUN_AN_EXAMPLE, str(program)], tmp_path, ours)
        assert (done.returncode, done.stderr) == (0, ""), code
