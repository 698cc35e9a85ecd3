"""The names of the package, of which some are loaded when somebody asks for them."""

from __future__ import annotations

import ast
import subprocess
import sys
import typing
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

import rwlocks

SOURCE = Path(rwlocks.__file__).read_text(encoding="utf-8")

# Eight threads ask for every name at once, in an interpreter where nobody has asked before.
RACE = """
import sys, threading
import rwlocks

late = {name for names in rwlocks._LATE.values() for name in names}
assert not late & set(vars(rwlocks)), "loaded before anybody has asked"
assert set(rwlocks.__all__) <= set(dir(rwlocks)), "a name that completion does not offer"
sys.setswitchinterval(1e-6)
start, found = threading.Barrier(8), []


def ask():
    start.wait()
    found.append([getattr(rwlocks, name) for name in rwlocks.__all__ if name not in sys.argv])


threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
first, *others = found
assert all(a is b for each in others for a, b in zip(first, each, strict=True)), "two objects of one name"
print(len(found), late - set(sys.argv) <= set(vars(rwlocks)))
"""


def named_tuples() -> list[type]:
    public = (getattr(rwlocks, name) for name in rwlocks.__all__ if name != "ProcessRWLock")
    return [each for each in public if isinstance(each, type) and issubclass(each, tuple)]


def test_what_is_late_is_what_type_checkers_are_told_of() -> None:
    (told,) = (
        node.body
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    declared = {
        str(node.module).removeprefix("rwlocks."): tuple(alias.name for alias in node.names)
        for node in told
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rwlocks.")
    }
    assert declared == rwlocks._LATE


def test_every_name_is_there_for_all_threads() -> None:
    # ProcessRWLock needs compiled parts; its own tests ask for it.
    child = subprocess.run([sys.executable, "-c", RACE, "ProcessRWLock"], capture_output=True, text=True, check=False)
    assert (child.stdout, child.stderr) == ("8 True\n", "")


def test_no_name_is_there_twice() -> None:
    names = Counter(rwlocks.__all__)
    assert sorted(names) == rwlocks.__all__
    assert set(names.values()) == {1}


@pytest.mark.parametrize("name", ["RLock", "ProcessRwLock", "_nothing"])
def test_an_unknown_name_is_refused_as_by_any_module(name: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'rwlocks' has no attribute '{name}'$"):
        getattr(rwlocks, name)


@pytest.mark.parametrize("kind", named_tuples())
def test_what_is_shown_tells_the_types_of_its_fields(kind: type[NamedTuple]) -> None:
    assert tuple(typing.get_type_hints(kind)) == kind._fields
