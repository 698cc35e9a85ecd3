"""The first step of `rwlocks migrate`: the imports of a module lead to `rwlocks.compat`.

Each import is rewritten as a whole or left as it was, and binds the same names as before, so that nothing else needs to
change. It is left where `rwlocks.compat` lacks a name that the module uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from rwlocks.cli._migrate_code import Code, Rewritten, dotted, dotted_name, one_below_the_other
from rwlocks.cli._migrate_names import COMPAT, MODULES, Finding, compat_of, library_of, offers

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rwlocks.cli._migrate_code import Import

__all__ = ["rewrite_imports"]

LOADERS = frozenset({"__import__", "find_spec", "import_module", "importorskip", "patch", "reload"})
"""Functions that take the name of a module as a string."""


def rewrite_imports(module: cst.Module, local: Collection[str]) -> Rewritten:
    """Lead the imports to `rwlocks.compat`. ``local`` are the modules of the tree itself, which may hide a library."""
    imports = _Imports(Code(module), local)
    rewritten = imports.code.tree.visit(imports)
    assert isinstance(rewritten, cst.Module)
    return Rewritten(rewritten, sorted(imports.findings), imports.inserted)


class _Imports(cst.CSTTransformer):
    def __init__(self, code: Code, local: Collection[str]) -> None:
        super().__init__()
        self.code = code
        self._local = local
        self.findings: list[Finding] = []
        self.inserted: list[int] = []

    # -- statements --------------------------------------------------------------------------------------------

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        body = self._body(original_node.body, updated_node.body)
        if len(original_node.body) > 1 or len(body) == 1:
            return updated_node.with_changes(body=body)
        self.inserted += [self.code.line(original_node)] * (len(body) - 1)
        return one_below_the_other(updated_node, body)

    def leave_SimpleStatementSuite(
        self, original_node: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> cst.SimpleStatementSuite:
        return updated_node.with_changes(body=self._body(original_node.body, updated_node.body))

    def _body(
        self, original: Sequence[cst.BaseSmallStatement], updated: Sequence[cst.BaseSmallStatement]
    ) -> list[cst.BaseSmallStatement]:
        return [new for before, after in zip(original, updated, strict=True) for new in self._statement(before, after)]

    def _statement(
        self, original: cst.BaseSmallStatement, updated: cst.BaseSmallStatement
    ) -> Sequence[cst.BaseSmallStatement]:
        if isinstance(original, cst.Import):
            return self._import(original) or [updated]
        if isinstance(original, cst.ImportFrom):
            return [self._import_from(original) or updated]
        return [updated]

    # -- import a, b.c as d ------------------------------------------------------------------------------------

    def _import(self, node: cst.Import) -> list[cst.BaseSmallStatement]:
        """The statements instead of this one, none if it stays."""
        ours = [alias for alias in node.names if library_of(dotted_name(alias.name))]
        complaint = next((why for alias in ours if (why := self._against(node, alias))), None)
        if complaint is not None:
            self._leave(node, complaint)
        if complaint is not None or not ours:
            return []
        return [self._imported(alias, as_before=alias not in ours) for alias in node.names]

    def _against(self, node: cst.Import, alias: cst.ImportAlias) -> str | None:
        module = dotted_name(alias.name)
        return self._against_module(module) or self._against_uses(node, "" if alias.asname is None else module)

    def _imported(self, alias: cst.ImportAlias, *, as_before: bool) -> cst.BaseSmallStatement:
        alone = alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        if as_before:
            return cst.Import([alone])
        package, _, name = compat_of(dotted_name(alias.name)).rpartition(".")
        if alias.asname is None:  # It binds the package alone, whatever comes after the dot.
            package, name = COMPAT, dotted_name(alias.name).partition(".")[0]
        return cst.ImportFrom(dotted(package), [alone.with_changes(name=cst.Name(name))])

    # -- from a.b import c as d --------------------------------------------------------------------------------

    def _import_from(self, node: cst.ImportFrom) -> cst.ImportFrom | None:
        module = dotted_name(node.module)
        if node.relative or not library_of(module):
            return None
        complaint = self._against_module(module) or self._against_names(node, module)
        if complaint is not None:
            self._leave(node, complaint)
            return None
        return node.with_changes(module=dotted(compat_of(module)))

    def _against_names(self, node: cst.ImportFrom, module: str) -> str | None:
        if isinstance(node.names, cst.ImportStar):
            return f"a star import of {module} can bring anything; import what is used by name"
        for alias in node.names:
            name = dotted_name(alias.name)
            if not offers(module, name):
                return _lacks(module, name)
            complaint = self._against_uses(node, f"{module}.{name}", bound=alias.evaluated_alias or name)
            if complaint is not None:
                return complaint
        return None

    # -- why an import has to stay -----------------------------------------------------------------------------

    def _against_module(self, module: str) -> str | None:
        library = library_of(module)
        if library in self._local:
            return f"{library} is a module of this tree"
        return None if module in MODULES else f"{COMPAT} has no {module}"

    def _against_uses(self, node: Import, module: str, bound: str | None = None) -> str | None:
        """Look at what is taken from an imported module, "" if the code calls it by its full name."""
        for name, use in self.code.references(node):
            if bound is None or name == bound:
                complaint = self._against_use(module or dotted_name(use), use)
                if complaint is not None:
                    return complaint
        return None

    def _against_use(self, module: str, use: cst.CSTNode) -> str | None:
        while module in MODULES and (taken := self.code.taken_from(use)) is not None:
            name = taken.attr.value
            if not offers(module, name):
                return f"{_lacks(module, name)}, which line {self.code.line(taken)} uses"
            module, use = f"{module}.{name}", taken
        return None

    # -- names in strings --------------------------------------------------------------------------------------

    def visit_Call(self, node: cst.Call) -> None:
        function = dotted_name(node.func).rpartition(".")[2]
        for argument in node.args[:1]:
            if function in LOADERS and isinstance(argument.value, cst.SimpleString):
                value = argument.value.evaluated_value
                if isinstance(value, str) and library_of(value):
                    self._leave(node, f"{value!r} is a string: if it is to be the module, write its new name there")

    def _leave(self, node: cst.CSTNode, why: str) -> None:
        self.findings.append(Finding(self.code.line(node), why))


def _lacks(module: str, name: str) -> str:
    return f"{compat_of(module)} has no {name!r}"
