"""A module's code as `rwlocks migrate` looks at it: what a node is, where it stands, and what its names refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import libcst as cst
from libcst import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rwlocks.cli._migrate_names import Finding

__all__ = ["Code", "Import", "Rewritten", "dotted", "dotted_name", "one_below_the_other"]

Import = cst.Import | cst.ImportFrom


def dotted(name: str) -> cst.Attribute | cst.Name:
    """A dotted name as code."""
    return cast("cst.Attribute | cst.Name", cst.parse_expression(name))


def dotted_name(node: cst.CSTNode | None) -> str:
    """The dotted name that the code is, "" if it is something else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        above = dotted_name(node.value)
        return above and f"{above}.{node.attr.value}"
    return ""


def one_below_the_other(
    line: cst.SimpleStatementLine, statements: Sequence[cst.BaseSmallStatement]
) -> cst.FlattenSentinel[cst.SimpleStatementLine]:
    """Lines for the statements instead of one, whose comments the first of them keeps."""
    first, *others = statements
    return cst.FlattenSentinel([line.with_changes(body=[first]), *(cst.SimpleStatementLine([each]) for each in others)])


class Code:
    """One module and all that is known of its nodes. It is ``tree`` that the nodes belong to."""

    def __init__(self, module: cst.Module, line: Callable[[int], int] = int) -> None:
        wrapper = metadata.MetadataWrapper(module)
        self.tree: Final = wrapper.module
        self._line = line
        known: Mapping[Any, Mapping[cst.CSTNode, Any]] = wrapper.resolve_many(
            [metadata.ParentNodeProvider, metadata.PositionProvider, metadata.ScopeProvider]
        )
        self._parents: Mapping[cst.CSTNode, cst.CSTNode] = known[metadata.ParentNodeProvider]
        self._positions = known[metadata.PositionProvider]
        self._scopes: Mapping[cst.CSTNode, metadata.Scope | None] = known[metadata.ScopeProvider]

    def line(self, node: cst.CSTNode) -> int:
        """The number of the line in which a node begins, in the file as it was."""
        return self._line(self._positions[node].start.line)

    def text(self, node: cst.CSTNode) -> str:
        """The node as it is written."""
        return self.tree.code_for_node(node)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The node around a node, None around the module."""
        return self._parents.get(node)

    def scope(self, node: cst.CSTNode) -> metadata.Scope | None:
        """The scope that a name or a statement stands in."""
        return self._scopes.get(node)

    def around(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """The nodes around a node, from the inside out."""
        parent = self.parent(node)
        while parent is not None:
            yield parent
            parent = self.parent(parent)

    def inside(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """A node and all that is part of it."""
        yield node
        for child in node.children:
            yield from self.inside(child)

    def taken_from(self, node: cst.CSTNode) -> cst.Attribute | None:
        """The ``node.attribute`` that a node is the first part of, if it is."""
        parent = self.parent(node)
        return parent if isinstance(parent, cst.Attribute) and parent.value is node else None

    def full_names(self, node: cst.CSTNode) -> set[str]:
        """What a name may mean: where it was imported from, else where it was defined."""
        scope = self.scope(node)
        return set() if scope is None else {name.name for name in scope.get_qualified_names_for(node)}

    def bindings(self, name: cst.Name) -> list[metadata.BaseAssignment]:
        """All that binds a name, as it is meant where it stands."""
        scope = self.scope(name)
        return [] if scope is None else list(scope[name.value])

    def all_bindings(self, name: str) -> Iterator[metadata.BaseAssignment]:
        """All that binds a name anywhere."""
        for scope in {scope for scope in self._scopes.values() if scope is not None}:
            yield from (binding for binding in scope.assignments if binding.name == name)

    def references(self, node: Import) -> Iterator[tuple[str, cst.CSTNode]]:
        """Each name that an import binds, with each use of it."""
        scope = self.scope(node)
        for assignment in () if scope is None else scope.assignments:
            if isinstance(assignment, metadata.ImportAssignment) and assignment.node is node:
                for access in assignment.references:
                    yield assignment.name, access.node


class Rewritten(NamedTuple):
    """A module after a step."""

    module: cst.Module
    findings: list[Finding]
    """What was left as it was."""
    inserted: Sequence[int] = ()
    """Below which lines of before another was put in, in order."""

    def line_before(self, line: int) -> int:
        """The line before this step of one after it."""
        for above in self.inserted:
            if line > above:
                line -= 1
        return line
