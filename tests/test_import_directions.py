"""Who may import whom, and what ``import rwlocks`` may load.

    _types <- _errors          _types <- policies <- _engine <- waiting <- facades <- testing, compat <- command line
    _types, _errors <- _ports <- backends

The core knows no runtime, the runtimes know the core's port, and the facades find the runtimes by name. What counts
is every import that can run, late ones too; those under ``if TYPE_CHECKING`` are there for the reader.
"""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHECKOUT = Path(__file__).resolve().parents[1]

# The innermost parts: each may import these others and no more.
CORE = {
    "_types": set[str](),
    "_errors": {"_types"},
    "_line": set[str](),
    "_ticket": {"_line", "_types"},
    "policies": {"_types"},
    "_engine": {"_line", "_ticket", "_types", "policies"},
    "_ports": {"_errors", "_types"},
}
# Around them, from the inside out. A part may import those of its own ring and of every ring further in.
RINGS = [
    set(CORE),
    {
        "_acquire",
        "_arguments",
        "_contended",
        "_core",
        "_deadlock",
        "_events",
        "_fork",
        "_graph",
        "_lock_event",
        "_monitor",
        "_nesting",
        "_owners",
        "_refusals",
        "_runtimes",
        "_snapshots",
        "_stats",
        "_steps",
    },
    {
        "__init__",
        "_all",
        "_compiled",
        "_fastpath",
        "_variant",
        "_decorate",
        "_features",
        "_guards",
        "_lock",
        "_protocol",
        "_views",
        "_watch",
    },
    # The facade of one backend, which is nothing without it; the package finds it by name.
    {
        "_process",
        "_process_compiled",
        "_process_core",
        "_process_monitor",
        "_process_open",
        "_process_picture",
        "_process_ticket",
        "_process_watch",
        "backends",
    },
    {"compat", "testing"},
    {"__main__", "cli"},
]
# Programs, tests about runtimes and the names of other libraries may know them all: nobody loads them who did not ask.
OUTSIDE = {"__main__", "cli", "compat", "testing"}

# What a backend may know of the package: the port, and what backends share, which knows no runtime itself.
PORT = {"rwlocks._errors", "rwlocks._ports", "rwlocks._types", "rwlocks.backends._delivery"}
# What only compiled code imports: the sleeping door of the native core.
COMPILED = {"cffi"}
RUNTIMES = {"anyio", "asyncio", "trio"}
# Who may import which runtime. Beneath anyio lies one of the two others.
RUNTIMES_OF = {"rwlocks.backends._asyncio": {"asyncio"}, "rwlocks.backends._anyio": RUNTIMES}
# A pure machine reads no clock, starts nothing, waits for nothing and tells nobody.
IMPURE = {
    "concurrent",
    "logging",
    "multiprocessing",
    "queue",
    "select",
    "socket",
    "threading",
    "time",
}

TYPE_CHECKING_TESTS = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
HEAVY = ["anyio", "asyncio", "cffi", "dataclasses", "inspect", "trio"]
# What few programs use. It is loaded when they do: see the end of `rwlocks/__init__.py`.
LATE = ["_all", "_decorate", "_features", "_graph", "_lock_event", "_process", "_protocol", "_views", "_watch"]


class Import(NamedTuple):
    """One import statement, resolved to the module that it loads."""

    module: str
    place: str

    @property
    def part(self) -> str:
        """The part of the package that is imported, or "" where it is none of ours."""
        return part_of(self.module)

    @property
    def root(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.place} imports {self.module}"


def part_of(module: str) -> str:
    package, _, rest = module.partition(".")
    if package == "backends":
        return package
    return (rest.partition(".")[0] or "__init__") if package == "rwlocks" else ""


def modules_of(folder: Path, name: str) -> dict[str, Path]:
    """The modules of a package by their dotted names."""
    modules: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        # The link to the backends, which are looked at in their own place.
        if name == "rwlocks" and inside.parts[0] == "backends":
            continue
        # The build step, which is not part of the package.
        if "csrc" in inside.parts:
            continue
        parts = inside.with_suffix("").parts
        modules[".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])] = path
    return modules


def that_run(nodes: Iterable[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in TYPE_CHECKING_TESTS:
            yield from that_run(node.orelse)
        else:
            yield from that_run(ast.iter_child_nodes(node))


def imports_of(module: str, path: Path, known: Iterable[str]) -> list[Import]:
    """What running a module's code can import."""
    found: list[Import] = []
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in that_run([ast.parse(path.read_text(encoding="utf-8"))]):
        place = f"{module}:{node.lineno}"
        if isinstance(node, ast.Import):
            found += [Import(alias.name, place) for alias in node.names]
            continue
        above = package[: len(package) - node.level + 1] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        for name in (f"{source}.{alias.name}" for alias in node.names):
            found.append(Import(name if name in known else source, place))
    return found


CORE_MODULES = modules_of(CHECKOUT / "rwlocks", "rwlocks")
BACKEND_MODULES = modules_of(CHECKOUT / "backends", "rwlocks.backends")
MODULES = CORE_MODULES | BACKEND_MODULES
IMPORTS = {module: imports_of(module, path, MODULES) for module, path in MODULES.items()}


def complaints(wrong: Iterable[Import], rule: str) -> None:
    lines = [str(each) for each in wrong]
    assert not lines, "\n".join([f"{rule}:", *lines])


def test_every_module_has_its_place() -> None:
    homeless = {part_of(module) for module in CORE_MODULES} - set[str]().union(*RINGS)
    assert not homeless, f"say in which ring {sorted(homeless)} belong, at the top of this file"


@pytest.mark.parametrize("module", CORE_MODULES)
def test_arrows_point_inwards(module: str) -> None:
    part = part_of(module)
    allowed = {part}
    for ring in RINGS:
        allowed |= ring
        if part in ring:
            break
    if part in CORE:
        allowed = {part, *CORE[part]}
    wrong = [each for each in IMPORTS[module] if each.part and each.part not in allowed]
    complaints(wrong, f"rwlocks.{part} may import {sorted(allowed - {part}) or 'nothing'} of ours")


def test_no_part_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module in CORE_MODULES:
        part = part_of(module)
        graph.setdefault(part, set()).update(e.part for e in IMPORTS[module] if e.part not in {"", part})
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


def is_of_one_folder(module: str, other: str) -> bool:
    """Whether both belong to a backend that is a folder, such as the process locks."""
    parts = module.split(".")
    return len(parts) > 3 and other.split(".")[:3] == parts[:3]


@pytest.mark.parametrize("module", BACKEND_MODULES)
def test_backends_know_only_the_port(module: str) -> None:
    ports = set(PORT)
    if module == "rwlocks.backends":
        ports.add("rwlocks._variant")  # which says where compiled ones are found
    wrong = [
        each
        for each in IMPORTS[module]
        if each.part and each.module not in ports and not is_of_one_folder(module, each.module)
    ]
    complaints(wrong, f"a backend may import {sorted(PORT)} of ours")


@pytest.mark.parametrize("module", [each for each in MODULES if part_of(each) not in OUTSIDE])
def test_a_runtime_is_imported_by_its_own_backend_alone(module: str) -> None:
    own = RUNTIMES_OF.get(module, set[str]())
    wrong = [each for each in IMPORTS[module] if each.root in RUNTIMES - own]
    complaints(wrong, "a runtime is the business of its own backend")


@pytest.mark.parametrize("part", ["_engine", "_line", "_ticket", "policies"])
def test_the_decision_is_pure(part: str) -> None:
    wrong = [
        each for module in CORE_MODULES if part_of(module) == part for each in IMPORTS[module] if each.root in IMPURE
    ]
    complaints(wrong, "time comes in with the event, and waiting is somebody else's business")


def test_dependencies_are_what_the_code_imports() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements: Iterable[str]) -> set[str]:
        return {re.split(r"[^\w-]", each, maxsplit=1)[0] for each in requirements}

    needed = names(project["dependencies"])
    extras = project["optional-dependencies"]
    offered = needed | names(extras["demo"]) | names(extras["migrate"])
    foreign = [
        each
        for module in MODULES
        for each in IMPORTS[module]
        if not each.part and each.root not in sys.stdlib_module_names
    ]
    complaints((e for e in foreign if e.root not in offered), "neither a dependency nor in [demo] or [migrate]")
    unused = needed - {each.root for each in foreign} - COMPILED
    assert not unused, f"nothing imports {sorted(unused)}: no dependency then"


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import rwlocks._lock as lock", ["rwlocks._lock"]),
        ("from rwlocks import RWLock, _lock", ["rwlocks", "rwlocks._lock"]),
        ("from rwlocks._lock import RWLock", ["rwlocks._lock"]),
        ("from . import _lock", ["rwlocks._lock"]),
        ("from ._lock import RWLock", ["rwlocks._lock"]),
        ("def late():\n    import trio.lowlevel", ["trio.lowlevel"]),
        ("try:\n    import trio\nexcept ImportError:\n    import rwlocks", ["trio", "rwlocks"]),
        ("if TYPE_CHECKING:\n    import trio\nelse:\n    import anyio", ["anyio"]),
        ("if typing.TYPE_CHECKING:\n    import trio", []),
    ],
)
def test_the_reader_of_imports_sees(statement: str, loaded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "_new.py"
    path.write_text(statement, encoding="utf-8")
    known = {"rwlocks", "rwlocks._lock"}
    assert [each.module for each in imports_of("rwlocks._new", path, known)] == loaded


# Run without site-packages' start-up files, which may load anything before we look.
LOADS = """
import builtins, sys

*places, heavy = sys.argv[1:]
sys.path[:0] = places
heavy = set(heavy.split())
assert not heavy & set(sys.modules), "an interpreter that loads them by itself"


def tell(what):
    chain, frame = [what], sys._getframe(2)
    while frame is not None:
        if not frame.f_code.co_filename.startswith("<"):
            chain.append(f"{frame.f_globals['__name__']}:{frame.f_lineno}")
        frame = frame.f_back
    print(" <- ".join(chain))


class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in heavy:
            tell(name)


def compile(source, *more, **options):
    if isinstance(source, str):  # no module, for want of its bytecode
        tell("compile")
    return compiler(source, *more, **options)


sys.meta_path.insert(0, Watch())
import typing, enum, threading  # which every program has, and may do as they like
compiler, builtins.compile = builtins.compile, compile
import rwlocks
"""


def heavy_imports(*places: Path) -> str:
    """What ``import rwlocks`` should do without: heavy modules, with who asked for each, and the compiler.

    The first annotation that is compiled, because a type variable or a named tuple has it as a string, takes longer
    than the import of ten modules.
    """
    heavy = [*HEAVY, *(f"rwlocks.{late}" for late in LATE)]
    command = [sys.executable, "-I", "-S", "-c", LOADS, *map(str, places), " ".join(heavy)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_importing_the_package_is_light() -> None:
    spec = importlib.util.find_spec("rwlocks")
    assert spec is not None
    assert spec.origin is not None
    loaded = heavy_imports(Path(spec.origin).parents[1], Path(sysconfig.get_path("purelib")))
    assert not loaded, f"`import rwlocks` loads\n{loaded}"


def test_the_watch_for_heavy_imports_names_who_asked(tmp_path: Path) -> None:
    package = tmp_path / "rwlocks"
    package.mkdir()
    (package / "__init__.py").write_text("from rwlocks import _new\n", encoding="utf-8")
    (package / "_new.py").write_text("\nimport dataclasses\n", encoding="utf-8")
    first, *_ = heavy_imports(tmp_path).splitlines()
    assert first == "dataclasses <- rwlocks._new:2 <- rwlocks:1"


def test_the_watch_for_compiled_annotations_names_who_wrote_them(tmp_path: Path) -> None:
    package = tmp_path / "rwlocks"
    package.mkdir()
    (package / "__init__.py").write_text("import typing\n\ntyping.TypeVar('T', bound='int')\n", encoding="utf-8")
    assert re.fullmatch(r"compile <- ((typing|annotationlib):\d+ <- )+rwlocks:3\n", heavy_imports(tmp_path))
