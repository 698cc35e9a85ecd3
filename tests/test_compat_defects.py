"""Each test of a defect fails on the original, in a child with a time limit; a hang is a failure there, too.

So the tests show what they say. Those of the same file that show no defect pass on both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from _originals import SELECTOR, outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.compat, pytest.mark.timeout(900)]

TESTS: Final = Path(__file__).parent


class Original(NamedTuple):
    """A library, and the defects that the research found in it: D1, D2, ..."""

    name: str
    letter: str
    defects: int
    elsewhere: frozenset[int] = frozenset()
    """Those that cannot exist here."""

    @property
    def ids(self) -> list[str]:
        return [f"{self.letter}{number}" for number in range(1, self.defects + 1) if number not in self.elsewhere]


ORIGINALS: Final = [
    Original("aiorwlock", "d", 10),
    Original("asyncio_multilock", "m", 10),
    Original("prwlock", "p", 16, frozenset({14})),  # of Windows, where it cannot be imported
]

each_original = pytest.mark.parametrize("original", ORIGINALS, ids=[each.name for each in ORIGINALS], scope="module")


@pytest.fixture(scope="module")
def found(original: Original, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each test on the original."""
    pytest.importorskip(
        original.name, reason=f"NOT TESTED: {original.name} itself is missing; install '.[compat-test]'"
    )
    report = tmp_path_factory.mktemp(original.name) / "report.xml"
    file = TESTS / f"test_compat_{original.name}_defects.py"
    found = outcomes(["--timeout=5", str(file)], TESTS.parent, {SELECTOR: "1"}, report)
    return {case.rpartition("::")[2]: what for case, what in found.items()}


def cases() -> Iterator[object]:
    for original in ORIGINALS:
        for defect in original.ids:
            yield pytest.param(original, defect, id=f"{original.name}-{defect.upper()}")


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize(("original", "defect"), list(cases()), scope="module")
def test_the_original_has_the_defect(defect: str, found: dict[str, str]) -> None:
    shown = {case: what for case, what in found.items() if case.startswith(f"test_{defect}_")}
    assert shown
    assert set(shown.values()) == {"failure"}


@each_original
def test_what_is_no_defect_passes_on_the_original(original: Original, found: dict[str, str]) -> None:
    sound = {case: what for case, what in found.items() if not re.match(rf"test_{original.letter}\d+_", case)}
    assert sound
    assert set(sound.values()) == {"passed"}
