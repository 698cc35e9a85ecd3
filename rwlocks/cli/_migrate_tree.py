"""The files of a source tree together: one file says what may be changed in another."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import libcst as cst

from rwlocks.cli._migrate_imports import rewrite_imports
from rwlocks.cli._migrate_names import LIBRARIES, Finding
from rwlocks.cli._migrate_native import rewrite_uses

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Result", "Source", "Tree"]

NAMES = [library.encode() for library in LIBRARIES]


class Source(NamedTuple):
    """One file."""

    path: Path
    code: bytes


class Result(NamedTuple):
    """What becomes of one file."""

    before: str
    after: str
    code: bytes
    """``after`` in the file's own encoding."""
    findings: list[Finding]


class Tree:
    """All files that are migrated at once."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._outlines = {source.path: _Outline(source.code) for source in sources}
        modules = (path.parent.name if path.stem == "__init__" else path.stem for path in self._outlines)
        self._local = LIBRARIES.intersection(modules)
        self._reached = Counter(name for outline in self._outlines.values() for name in outline.reached)

    def rewritten(self, source: Source, *, native: bool) -> Result:
        """The file after all steps, and what was left in it."""
        as_it_is = Result("", "", source.code, [])
        outline = self._outlines[source.path]
        if outline.mistake is not None:
            return as_it_is._replace(findings=[outline.mistake])
        if not any(name in source.code for name in NAMES):
            return as_it_is
        try:
            module = cst.parse_module(source.code)
        except cst.ParserSyntaxError as error:
            return as_it_is._replace(findings=[Finding(error.raw_line, f"libcst cannot parse it: {error.message}")])
        rewritten = rewrite_imports(module, self._local)
        if native:
            rewritten = rewrite_uses(rewritten, lambda name: self._reached[name] > (name in outline.reached))
        return Result(module.code, rewritten.module.code, rewritten.module.bytes, rewritten.findings)


class _Outline(ast.NodeVisitor):
    """Whether a file parses, and which names it takes from elsewhere: from modules, other objects, and base classes.

    What it takes from the libraries themselves does not count: that is no other file's.
    """

    def __init__(self, code: bytes) -> None:
        self.reached: set[str] = set()
        self.mistake: Finding | None = None
        self._libraries: set[str] = set()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # What else is wrong with it is not our business.
                tree = ast.parse(code)
            self.visit(tree)
        except SyntaxError as error:
            self.mistake = Finding(error.lineno or 1, f"it does not parse: {error.msg}")
        except (ValueError, RecursionError) as error:
            self.mistake = Finding(1, f"it does not parse: {error}")

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if _is_of_library(alias.name):
                self._libraries.add(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if not node.level and _is_of_library(node.module or ""):
            self._libraries |= {alias.asname or alias.name for alias in node.names}
        else:
            self.reached |= {alias.name for alias in node.names}

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.value, ast.Name) or node.value.id not in {"self", *self._libraries}:
            self.reached.add(node.attr)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if node.bases:
            taken, given = set[str](), set[str]()
            for each in ast.walk(node):
                if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
                    (given if isinstance(each.ctx, ast.Store) else taken).add(each.attr)
            self.reached |= taken - given
        self.generic_visit(node)


def _is_of_library(module: str) -> bool:
    return module.partition(".")[0] in {"rwlocks", *LIBRARIES}
