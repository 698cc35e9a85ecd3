"""`rwlocks migrate`: programs before and after, and what it leaves alone."""

from __future__ import annotations

import importlib.util
import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from rwlocks.cli import main
from rwlocks.cli._migrate_tree import Source, Tree

if TYPE_CHECKING:
    from pathlib import Path


class Program(NamedTuple):
    """A program, what it prints, and what becomes of its parts at each step; all else stays."""

    before: str
    prints: str
    compat: dict[str, str]
    native: dict[str, str]

    def after(self, changes: dict[str, str]) -> str:
        code = self.before
        for old, new in changes.items():
            assert old in code
            code = code.replace(old, new)
        return code


PROGRAMS: Final = {
    "aiorwlock": Program(
        """
import asyncio
import aiorwlock  # the lock


class Cache:
    def __init__(self):
        self._lock: aiorwlock.RWLock = aiorwlock.RWLock(fast=True)
        self._data = {}

    async def get(self, key):
        async with self._lock.reader_lock:
            return self._data.get(key)

    async def put(self, key, value):
        async with self._lock.writer:
            self._data[key] = value
            return await self.get(key)


async def main():
    cache = Cache()
    print(await asyncio.gather(*(cache.put(n, n * n) for n in range(5))))


asyncio.run(main())
""",
        "[0, 1, 4, 9, 16]\n",
        {"import aiorwlock": "from rwlocks.compat import aiorwlock"},
        {
            "import aiorwlock": "import rwlocks",
            "_lock: aiorwlock.RWLock = aiorwlock.RWLock(fast=True)": (
                '_lock: rwlocks.RWLock = rwlocks.RWLock("writer-pref", reentrant=True)'
            ),
            ".reader_lock": ".read()",
            "_lock.writer:": "_lock.write():",
        },
    ),
    "asyncio-multilock": Program(
        """
import asyncio
from asyncio_multilock import MultiLock, MultiLockType as Type


async def main():
    lock, seen = MultiLock(), []

    async def visit(kind):
        async with lock.context(kind):
            seen.append(lock.locked)

    await asyncio.gather(visit(Type.SHARED), visit(Type.SHARED), visit(Type.EXCLUSIVE))
    print(len(seen))


asyncio.run(main())

quiet = MultiLock()


async def look():
    async with quiet.context(Type.SHARED):
        pass
    async with quiet.context(Type.EXCLUSIVE):
        print("nobody")


asyncio.run(look())
""",
        "3\nnobody\n",
        {"from asyncio_multilock": "from rwlocks.compat.asyncio_multilock"},
        {
            "from asyncio_multilock import MultiLock, MultiLockType as Type\n": (
                "from rwlocks.compat.asyncio_multilock import MultiLock, MultiLockType as Type\nimport rwlocks\n"
            ),
            "quiet = MultiLock()": 'quiet = rwlocks.RWLock("reader-pref")',
            "quiet.context(Type.SHARED)": "quiet.read()",
            "quiet.context(Type.EXCLUSIVE)": "quiet.write()",
        },
    ),
    "readerwriterlock": Program(
        """
import threading
from readerwriterlock import rwlock


class Counter:
    def __init__(self):
        self.value = 0
        self.lock = rwlock.RWLockFairD()

    def add(self):
        for _ in range(200):
            with self.lock.gen_wlock():
                self.value += 1
            with self.lock.gen_rlock():
                assert self.value > 0


counter = Counter()
threads = [threading.Thread(target=counter.add) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(counter.value)
""",
        "800\n",
        {"from readerwriterlock": "from rwlocks.compat.readerwriterlock"},
        {
            "from readerwriterlock import rwlock": "import rwlocks",
            "rwlock.RWLockFairD()": 'rwlocks.RWLock("fifo")',
            "gen_wlock": "write",
            "gen_rlock": "read",
        },
    ),
    "readerwriterlock, async": Program(
        """
import asyncio
import readerwriterlock.rwlock_async as locks


async def main():
    lock = locks.RWLockWrite()
    values = []

    async def add(n):
        async with await lock.gen_wlock():
            values.append(n)

    async def look():
        async with (await lock.gen_rlock()):
            return len(values)

    await asyncio.gather(*map(add, range(3)))
    print(await look())


asyncio.run(main())
""",
        "3\n",
        {"import readerwriterlock.rwlock_async": "from rwlocks.compat.readerwriterlock import rwlock_async"},
        {
            "import readerwriterlock.rwlock_async as locks": "import rwlocks",
            "locks.RWLockWrite()": 'rwlocks.RWLock("writer-pref")',
            "await lock.gen_wlock()": "lock.write()",
            "(await lock.gen_rlock())": "(lock.read())",
        },
    ),
    "prwlock": Program(
        """
import multiprocessing
from prwlock import RWLock

shared = RWLock()
lock = RWLock()


def read(given):
    given.acquire_read()
    given.release()


with lock.writer_lock():
    with shared.reader_lock(timeout=1):
        print("both")
with lock.reader_lock():
    worker = multiprocessing.get_context("fork").Process(target=read, args=(shared,))
    worker.start()
    worker.join()
    print(worker.exitcode)
""",
        "both\n0\n",
        {"from prwlock": "from rwlocks.compat.prwlock"},
        {
            "from prwlock import RWLock\n": "from rwlocks.compat.prwlock import RWLock\nimport rwlocks\n",
            "\nlock = RWLock()": '\nlock = rwlocks.ProcessRWLock(policy="reader-pref")',
            "lock.writer_lock()": "lock.write()",
            "\nwith lock.reader_lock()": "\nwith lock.read()",
        },
    ),
    "fasteners": Program(
        """
import fasteners as f

lock = f.ReaderWriterLock()


class Numbers:
    def __init__(self):
        self._lock = f.ReaderWriterLock()
        self._values = []

    @f.write_locked
    def add(self, value):
        self._values.append(value)
        return self.total()

    @f.read_locked
    def total(self):
        return sum(self._values)


with lock.write_lock(), lock.read_lock():
    numbers = Numbers()
    print(numbers.add(1), numbers.add(2))
""",
        "1 3\n",
        {"import fasteners": "from rwlocks.compat import fasteners"},
        {
            "import fasteners as f\n": "from rwlocks.compat import fasteners as f\nimport rwlocks\n",
            "\nlock = f.ReaderWriterLock()": '\nlock = rwlocks.RWLock("writer-pref", reentrant=True)',
            "lock.write_lock()": "lock.write()",
            "lock.read_lock()": "lock.read()",
        },
    ),
}
BETWEEN_PROCESSES: Final = pytest.mark.skipif(
    importlib.util.find_spec("rwlocks.backends.process._fast") is None, reason="built without the native core"
)
each_program = pytest.mark.parametrize(
    "program",
    [
        pytest.param(program, id=name, marks=[BETWEEN_PROCESSES] if name == "prwlock" else [])
        for name, program in PROGRAMS.items()
    ],
)


def migrated(code: str, *others: str, native: bool = False) -> tuple[str, list[tuple[int, str]]]:
    """The code after migration, as one file of several, and what was left in it."""
    from pathlib import Path

    sources = [Source(Path(f"{n}.py"), each.encode()) for n, each in enumerate((code, *others))]
    result = Tree(sources).rewritten(sources[0], native=native)
    return result.code.decode(), [(line, why) for line, why in result.findings]


def run(code: str) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "program", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


# -- programs ----------------------------------------------------------------------------------------------------------


@each_program
def test_the_imports_of_a_program_lead_to_compat(program: Program) -> None:
    after, left = migrated(program.before)
    assert (after, left) == (program.after(program.compat), [])
    assert run(after) == program.prints


@each_program
def test_the_plain_locks_of_a_program_become_native(program: Program) -> None:
    after, left = migrated(program.before, native=True)
    assert after == program.after(program.native)
    assert bool(left) is any("compat" in what for what in program.native.values())
    assert run(after) == program.prints


@each_program
def test_both_steps_can_be_taken_one_after_the_other_and_again(program: Program) -> None:
    compat, _ = migrated(program.before)
    assert migrated(compat) == (compat, [])
    native, left = migrated(compat, native=True)
    assert native == program.after(program.native)
    again, still_left = migrated(native, native=True)
    assert again == native
    assert len(still_left) == len(left)


@pytest.mark.compat
@each_program
def test_a_program_prints_the_same_on_its_original(program: Program) -> None:
    library = next(word for word in program.compat).split()[1].partition(".")[0]
    pytest.importorskip(library, reason=f"NOT TESTED: {library} itself is missing; install '.[compat-test]'")
    assert run(program.before) == program.prints


# -- imports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import aiorwlock\n", "from rwlocks.compat import aiorwlock\n"),
        ("import aiorwlock as a\n", "from rwlocks.compat import aiorwlock as a\n"),
        ("from aiorwlock import RWLock as L\n", "from rwlocks.compat.aiorwlock import RWLock as L\n"),
        ("from fasteners import lock as l\n", "from rwlocks.compat.fasteners import lock as l\n"),
        (
            "import readerwriterlock.rwlock\na = readerwriterlock.rwlock.RWLockFair()\n",
            "from rwlocks.compat import readerwriterlock\na = readerwriterlock.rwlock.RWLockFair()\n",
        ),
        ("import readerwriterlock.rwlock as r\n", "from rwlocks.compat.readerwriterlock import rwlock as r\n"),
        (
            "from readerwriterlock import rwlock, rwlock_async as a\n",
            "from rwlocks.compat.readerwriterlock import rwlock, rwlock_async as a\n",
        ),
        (
            "# above\nfrom fasteners import (\n  ReaderWriterLock,  # this\n  locked,\n)  # behind\n",
            "# above\nfrom rwlocks.compat.fasteners import (\n  ReaderWriterLock,  # this\n  locked,\n)  # behind\n",
        ),
        (
            "# above\nimport os, fasteners as f, sys  # three\n",
            "# above\nimport os  # three\nfrom rwlocks.compat import fasteners as f\nimport sys\n",
        ),
        ("import os; import fasteners; x = 1\n", "import os; from rwlocks.compat import fasteners; x = 1\n"),
        (
            "import os; import sys, fasteners\n",
            "import os; import sys; from rwlocks.compat import fasteners\n",
        ),
        (
            "try: import fasteners\nexcept ImportError: fasteners = None\n",
            "try: from rwlocks.compat import fasteners\nexcept ImportError: fasteners = None\n",
        ),
        (
            "try:\n\timport os, fasteners\nexcept ImportError:\n\tfasteners = None\n",
            "try:\n\timport os\n\tfrom rwlocks.compat import fasteners\nexcept ImportError:\n\tfasteners = None\n",
        ),
        (
            "if TYPE_CHECKING:\n    from aiorwlock import RWLock\n",
            "if TYPE_CHECKING:\n    from rwlocks.compat.aiorwlock import RWLock\n",
        ),
        (
            "def f():\n  import aiorwlock\n  return aiorwlock.RWLock()\n",
            "def f():\n  from rwlocks.compat import aiorwlock\n  return aiorwlock.RWLock()\n",
        ),
        ("import aiorwlock\r\nx = 1\r\n", "from rwlocks.compat import aiorwlock\r\nx = 1\r\n"),
        ("import aiorwlock", "from rwlocks.compat import aiorwlock"),
    ],
)
def test_an_import_leads_to_compat_and_binds_what_it_did(before: str, after: str) -> None:
    assert migrated(before) == (after, [])
    assert migrated(after) == (after, [])


@pytest.mark.parametrize(
    "code",
    [
        "from . import aiorwlock\n",
        "from .aiorwlock import RWLock\n",
        "import aiorwlocks, my.aiorwlock\n",
        "'import aiorwlock'  # import aiorwlock\n__all__ = ['aiorwlock']\n",
        "from rwlocks.compat import aiorwlock\n",
        "aiorwlock = 1\naiorwlock.nothing\n",
    ],
)
def test_what_is_no_import_of_a_library_stays(code: str) -> None:
    assert migrated(code) == (code, [])


@pytest.mark.parametrize(
    ("code", "line", "why"),
    [
        ("\nfrom fasteners import *\n", 2, "a star import of fasteners can bring anything"),
        ("from fasteners import locked, _utils\n", 1, "rwlocks.compat.fasteners has no '_utils'"),
        ("import fasteners._utils\n", 1, "rwlocks.compat has no fasteners._utils"),
        ("from aiorwlock.core import X\n", 1, "rwlocks.compat has no aiorwlock.core"),
        ("import fasteners\n\nfasteners.nope()\n", 1, "has no 'nope', which line 3 uses"),
        ("import os, fasteners as f\ndef g():\n  f.lock.nope()\n", 1, "fasteners.lock has no 'nope', which line 3"),
        ("from readerwriterlock import rwlock as r\nr.nope\n", 1, "rwlock has no 'nope', which line 2 uses"),
        ("import readerwriterlock.rwlock\nreaderwriterlock.rwlock.nope\n", 1, "has no 'nope', which line 2 uses"),
        ("import importlib\nimportlib.import_module('aiorwlock')\n", 2, "'aiorwlock' is a string"),
        ("mock.patch('fasteners.lock.ReaderWriterLock')\n", 1, "'fasteners.lock.ReaderWriterLock' is a string"),
    ],
)
def test_what_is_not_understood_stays_and_is_listed(code: str, line: int, why: str) -> None:
    after, [(where, complaint)] = migrated(code)
    assert after == code
    assert where == line
    assert why in complaint


def test_a_file_that_does_not_parse_is_listed() -> None:
    for code, line in (("import aiorwlock\nprint 1\n", 2), ("def f(:\n  pass\n", 1)):
        after, [(where, why)] = migrated(code)
        assert (after, where) == (code, line)
        assert why.startswith("it does not parse: ")


def test_a_module_of_the_tree_hides_a_library(tmp_path: Path) -> None:
    package = tmp_path / "fasteners"
    package.mkdir()
    paths = [package / "__init__.py", tmp_path / "prwlock.py", tmp_path / "main.py"]
    code = b"import prwlock\nimport fasteners\nimport aiorwlock\n"
    sources = [Source(path, code) for path in paths]
    result = Tree(sources).rewritten(sources[2], native=False)
    assert result.code == b"import prwlock\nimport fasteners\nfrom rwlocks.compat import aiorwlock\n"
    assert [why for _, why in result.findings] == [
        "prwlock is a module of this tree",
        "fasteners is a module of this tree",
    ]


# -- native ------------------------------------------------------------------------------------------------------------

AIO: Final = "from rwlocks.compat.aiorwlock import RWLock\n"
MULTI: Final = "from rwlocks.compat.asyncio_multilock import MultiLock\n"
SYNC: Final = "from rwlocks.compat.fasteners import ReaderWriterLock\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            AIO + "lock = RWLock()\nawaitable = lock.reader.acquire()\n",
            "line 3 has more than a block: lock.reader.acquire()",
        ),
        (AIO + "def f():\n    lock = RWLock()\n    return lock\n", "line 4 has more than a block: lock"),
        (AIO + "async def f():\n    lock = RWLock()\n    async with lock.reader as r: r\n", "has more than a block"),
        (AIO + "lock = RWLock(loop=None)\n", "it is made with arguments: RWLock(loop=None)"),
        (AIO + "lock = RWLock(**options)\n", "it is made with arguments: RWLock(**options)"),
        (AIO + "locks = [RWLock()]\n", "it is not bound to one name"),
        (AIO + "lock = RWLock()\nlock = None\n", "it is not bound to one name"),
        (AIO + "a = b = RWLock()\n", "it is not bound to one name"),
        (AIO + "a.lock = RWLock()\n", "it is not bound to one name"),
        (AIO + "class A:\n    lock = RWLock()\n", "it is an attribute of a class"),
        (AIO + "lock: object = RWLock()\n", "it is declared as object"),
        (AIO + "lock = RWLock()\n__all__ = ['lock']\n", "'lock' is also found by its name"),
        (AIO + "lock = RWLock()\nrwlocks = 1\n", "something else is called 'rwlocks' here"),
        (AIO + "class A:\n  def f(self):\n    self.l = RWLock()\nA().l\n", "line 5 reaches for A().l"),
        (
            AIO + "class A:\n  def f(self):\n    self.l = RWLock()\n    self.l = 1\n",
            "line 5 has more than a block: self.l",
        ),
        (
            AIO + "class A:\n  def f(self):\n    self.l = RWLock()\nclass B(A):\n  def g(self):\n    self.l.reader\n",
            "B may inherit it",
        ),
        ("import os; " + AIO + "lock = RWLock()\n", "its import shares a line with something else"),
        (
            "try:\n  " + AIO + "except ImportError:\n  RWLock = None\nlock = RWLock()\n",
            "its name may mean something else, too",
        ),
        (SYNC + "lock = ReaderWriterLock()\nlock.acquire_read_lock()\n", "more than a block: lock.acquire_read_lock()"),
        (SYNC + "lock = ReaderWriterLock()\nwith lock.read_lock(1): pass\n", "more than a block: lock.read_lock(1)"),
        (
            SYNC + "import rwlocks.compat.fasteners as x\n"
            "class A:\n  def f(self):\n    self._lock = ReaderWriterLock()\n  @x.read_locked\n  def g(self): pass\n",
            "'_lock' is also found by its name",
        ),
        (
            MULTI + "async def f(kind):\n  lock = MultiLock()\n  async with lock.context(kind): pass\n",
            "more than a block: lock.context(kind)",
        ),
    ],
)
def test_a_lock_that_is_more_than_its_blocks_stays(code: str, why: str) -> None:
    after, [(_, complaint)] = migrated(code, native=True)
    assert after == code
    assert complaint.startswith("stays a rwlocks.compat.")
    assert why in complaint


@pytest.mark.parametrize(
    "other",
    [
        "from program import lock\n",
        "import program\nprogram.lock.reader\n",
        "class B(program.A):\n    def f(self):\n        self.lock.reader\n",
    ],
)
def test_a_lock_that_other_files_use_stays(other: str) -> None:
    globally = AIO + "lock = RWLock()\n"
    inside = AIO + "class A:\n    def __init__(self):\n        self.lock = RWLock()\n"
    for code in (globally, inside):
        assert migrated(code, native=True)[0] != code
        after, [(_, why)] = migrated(code, other, native=True)
        assert after == code
        assert "other files use something called 'lock'" in why


def test_a_name_that_only_libraries_are_asked_for_is_nobody_else_s() -> None:
    code = SYNC + "l = ReaderWriterLock()\n"
    after, left = migrated(code, "import fasteners\nfasteners.ReaderWriterLock\n", code, native=True)
    assert (after, left) == ('import rwlocks\nl = rwlocks.RWLock("writer-pref", reentrant=True)\n', [])


def test_classes_may_call_different_things_the_same() -> None:
    code = (
        SYNC + "import threading\n"
        "class A:\n  def __init__(self):\n    self._lock = ReaderWriterLock()\n"
        "  def f(self):\n    with self._lock.read_lock(): pass\n"
        "class B:\n  def __init__(self):\n    self._lock = threading.Lock()\n"
        "  def f(self):\n    with self._lock: return self._lock.locked()\n"
    )
    after, left = migrated(code, native=True)
    assert left == []
    assert after.count("self._lock.read()") == 1
    assert after.startswith("import rwlocks\nimport threading\n")


def test_rwlocks_is_imported_once_where_every_lock_can_see_it() -> None:
    code = (
        "import rwlocks\n" + SYNC + "from rwlocks.compat.readerwriterlock import rwlock\n"
        "a, b = 1, 2\nc = ReaderWriterLock()\nd = rwlock.RWLockRead()\n"
    )
    after, left = migrated(code, native=True)
    assert left == []
    assert after.count("import") == 1
    code = "def f():\n    import fasteners\n    l = fasteners.ReaderWriterLock()\n    with l.read_lock(): pass\n"
    after, left = migrated(code, native=True)
    assert (after.count("import"), left) == (1, [])
    assert "    import rwlocks\n" in after


def test_lines_are_those_of_the_file_before() -> None:
    code = "import os, aiorwlock, sys\n\nlock = aiorwlock.RWLock()\nlock.reader\n"
    _, [(line, why)] = migrated(code, native=True)
    assert line == 3
    assert "line 4" in why


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "a.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe9'\nimport aiorwlock")
    (tmp_path / "app" / "b.pyi").write_text("import fasteners\n", encoding="utf-8")
    (tmp_path / "app" / "c.py").write_text("from fasteners import *\n", encoding="utf-8")
    (tmp_path / "app" / "notes.txt").write_text("import aiorwlock\n", encoding="utf-8")
    for foreign in ("env", ".hidden", "node_modules"):
        (tmp_path / foreign).mkdir()
        (tmp_path / foreign / "a.py").write_text("import aiorwlock\n", encoding="utf-8")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_shows_a_difference_and_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(folder)
    assert main(["migrate", str(folder)]) == 1
    assert content(folder) == before
    shown = capsys.readouterr()
    name = folder.as_posix().lstrip("/")
    assert shown.out == (
        f"--- a/{name}/app/a.py\n+++ b/{name}/app/a.py\n@@ -1,3 +1,3 @@\n # -*- coding: latin-1 -*-\n name = 'é'\n"
        "-import aiorwlock\n\\ No newline at end of file\n"
        "+from rwlocks.compat import aiorwlock\n\\ No newline at end of file\n"
        f"--- a/{name}/app/b.pyi\n+++ b/{name}/app/b.pyi\n@@ -1 +1 @@\n"
        "-import fasteners\n+from rwlocks.compat import fasteners\n"
    )
    assert shown.err == (
        f"{folder}/app/c.py:1: a star import of fasteners can bring anything; import what is used by name\n"
        "2 files of 3 would change; --write changes them. 1 place left as before.\n"
    )


def test_it_writes_when_told_to_and_has_nothing_left_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(folder)
    assert main(["migrate", "--write", str(folder), str(folder / "app" / "a.py")]) == 1
    after = content(folder)
    assert {name for name in before if before[name] != after[name]} == {"app/a.py", "app/b.pyi"}
    assert after["app/a.py"] == before["app/a.py"].replace(b"import", b"from rwlocks.compat import")
    assert capsys.readouterr().out == f"rewrote {folder}/app/a.py\nrewrote {folder}/app/b.pyi\n"
    assert main(["migrate", "--write", str(folder)]) == 1
    assert content(folder) == after
    assert main(["migrate", str(folder / "app" / "a.py"), str(folder / "app" / "b.pyi")]) == 0
    assert capsys.readouterr().out == ""


def test_a_path_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_without_libcst_it_says_how_to_get_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(name: str) -> None:
        assert name == "libcst"

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)
    assert main(["migrate", str(folder)]) == 2
    assert "pip install 'rwlocks[migrate]'" in capsys.readouterr().err
