"""The second step of `rwlocks migrate`, with ``--native``: a lock whose uses are all plain becomes a native one.

A lock is followed by its name: a variable, or an attribute of ``self``. It is rewritten with all its uses or not at
all, and only if every use is a ``with`` block of one of its sides, and no other code can get at it by that name.
Anything else (a hold that outlives a block, a timeout, a lock that is passed on) may mean more than it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import libcst as cst
from libcst import metadata

from rwlocks.cli._migrate_code import Code, Rewritten, dotted, dotted_name, one_below_the_other
from rwlocks.cli._migrate_names import Finding
from rwlocks.cli._migrate_plans import DECORATORS, MODES, PLANS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from rwlocks.cli._migrate_code import Import
    from rwlocks.cli._migrate_plans import Plan

__all__ = ["rewrite_uses"]

N = TypeVar("N", bound=cst.CSTNode)


def rewrite_uses(before: Rewritten, reached: Callable[[str], bool]) -> Rewritten:
    """Make native locks of those that are plain. ``reached``: whether other files take that name from elsewhere."""
    survey = _Survey(Code(before.module, before.line_before), reached)
    survey.code.tree.visit(survey)
    locks = survey.locks()
    exchange = _Exchange({before: after for lock in locks for before, after in lock.new.items()})
    exchange.lines = _import_lines(survey, {node: None for lock in locks for node in lock.imports}, exchange.nodes)
    rewritten = survey.code.tree.visit(exchange)
    assert isinstance(rewritten, cst.Module)
    return Rewritten(rewritten, sorted([*before.findings, *survey.findings]))


class _NotPlainError(Exception):
    """Why a lock stays what it is."""


class _Lock(NamedTuple):
    """The locks of one class that are bound to one name."""

    kind: str
    made: list[cst.Call]
    imports: list[Import]
    """The statements that brought the class."""
    new: dict[cst.CSTNode, cst.CSTNode]
    """What is to be replaced by what."""


class _Attribute(NamedTuple):
    """An attribute of ``self``, or of an object that is none of the class."""

    owner: cst.ClassDef | None
    name: str


class _Survey(cst.CSTVisitor):
    """Looks at a whole module, then says which locks are plain."""

    def __init__(self, code: Code, reached: Callable[[str], bool]) -> None:
        super().__init__()
        self.code = code
        self.reached = reached
        self.findings: list[Finding] = []
        self.strings: set[str] = set()
        self._classes: list[cst.ClassDef] = []
        self._made: list[tuple[cst.Call, str, cst.ClassDef | None]] = []
        self._attributes: dict[_Attribute, list[cst.Attribute]] = {}

    # -- looking -----------------------------------------------------------------------------------------------

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._classes.append(node)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:
        self._classes.pop()

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        self.strings.add(str(node.evaluated_value))

    def visit_Call(self, node: cst.Call) -> None:
        kinds = self.code.full_names(node.func)
        for kind in kinds & PLANS.keys():
            if len(kinds) == 1:
                self._made.append((node, kind, self._classes[-1] if self._classes else None))
            else:
                self._stays(node, kind, "its name may mean something else, too")

    def visit_Name(self, node: cst.Name) -> None:
        if self.code.full_names(node) & DECORATORS:
            self.strings.add("_lock")

    def visit_Attribute(self, node: cst.Attribute) -> None:
        if self.code.full_names(node) & DECORATORS:
            self.strings.add("_lock")
        of_self = dotted_name(node.value) == "self" and self._classes
        key = _Attribute(self._classes[-1] if of_self else None, node.attr.value)
        self._attributes.setdefault(key, []).append(node)

    # -- judging -----------------------------------------------------------------------------------------------

    def locks(self) -> list[_Lock]:
        """Those to become native. What is found against the others is in ``findings``."""
        named: dict[object, list[tuple[cst.Call, str]]] = {}
        for call, kind, owner in self._made:
            named.setdefault(self._name_of(call, owner) or call, []).append((call, kind))
        return [lock for name, made in named.items() if (lock := self._judge(name, made)) is not None]

    def _name_of(self, call: cst.Call, owner: cst.ClassDef | None) -> object:
        """What it is bound to: an attribute, an assignment of a variable, or None if neither."""
        target = self._target(call)
        if isinstance(target, cst.Attribute) and dotted_name(target.value) == "self" and owner is not None:
            return _Attribute(owner, target.attr.value)
        if isinstance(target, cst.Name):
            bindings = self.code.bindings(target)
            return bindings[0] if len(bindings) == 1 else None
        return None

    def _target(self, call: cst.Call) -> cst.CSTNode | None:
        statement = self.code.parent(call)
        if isinstance(statement, cst.AnnAssign):
            return statement.target
        if isinstance(statement, cst.Assign) and len(statement.targets) == 1:
            return statement.targets[0].target
        return None

    def _judge(self, name: object, made: list[tuple[cst.Call, str]]) -> _Lock | None:
        kind = made[0][1]
        lock = _Lock(kind, [call for call, _ in made], [], {})
        try:
            self._complete(lock, name, {kind for _, kind in made})
        except _NotPlainError as complaint:
            for call in lock.made:
                self._stays(call, kind, str(complaint))
            return None
        return lock

    def _complete(self, lock: _Lock, name: object, kinds: set[str]) -> None:
        if not all(map(_is_rwlocks, self.code.all_bindings("rwlocks"))):
            raise _NotPlainError("something else is called 'rwlocks' here")
        if len(kinds) > 1:
            raise _NotPlainError("its name is that of locks of several classes")
        for call in lock.made:
            lock.imports.append(self._import_of(call))
            lock.new[call] = self._native(call, PLANS[lock.kind])
            self._annotation(call, lock)
        for use in self._uses(lock, name):
            before, after = self._plain(use, PLANS[lock.kind])
            lock.new[before] = after

    def _import_of(self, call: cst.Call) -> Import:
        first = call.func
        while isinstance(first, cst.Attribute):
            first = first.value
        bindings = self.code.bindings(first) if isinstance(first, cst.Name) else []
        for binding in bindings:
            if isinstance(binding, metadata.ImportAssignment):
                node = binding.node
                if isinstance(node, cst.Import | cst.ImportFrom) and _has_line(self.code, node):
                    return node
        raise _NotPlainError("its import shares a line with something else")

    def _native(self, call: cst.Call, plan: Plan) -> cst.BaseExpression:
        if any(each.keyword is None or each.keyword.value not in plan.options for each in call.args):
            raise _NotPlainError(f"it is made with arguments: {self.code.text(call)}")
        return cst.parse_expression(plan.native)

    def _annotation(self, call: cst.Call, lock: _Lock) -> None:
        statement = self.code.parent(call)
        if isinstance(statement, cst.AnnAssign):
            annotation = statement.annotation.annotation
            if self.code.full_names(annotation) != {lock.kind}:
                raise _NotPlainError(f"it is declared as {self.code.text(annotation)}")
            lock.new[annotation] = dotted(PLANS[lock.kind].native.partition("(")[0])

    def _uses(self, lock: _Lock, name: object) -> Iterable[cst.CSTNode]:
        if isinstance(name, _Attribute):
            self._nobody_else(name.name)
            return self._uses_of_attribute(lock, name)
        if isinstance(name, metadata.Assignment):
            if isinstance(name.scope, metadata.ClassScope):
                raise _NotPlainError("it is an attribute of a class")
            if isinstance(name.scope, metadata.GlobalScope):
                self._nobody_else(name.name)
            return [access.node for access in name.references]
        raise _NotPlainError("it is not bound to one name, once, where it is made")

    def _nobody_else(self, name: str) -> None:
        if name in self.strings:
            raise _NotPlainError(f"{name!r} is also found by its name, as a string or by a decorator")
        if self.reached(name):
            raise _NotPlainError(f"other files use something called {name!r}")

    def _uses_of_attribute(self, lock: _Lock, name: _Attribute) -> Iterator[cst.Attribute]:
        targets = {self._target(call) for call in lock.made}
        for other, uses in self._attributes.items():
            if other.name != name.name:
                continue
            if other.owner is None:
                raise _NotPlainError(f"line {self.code.line(uses[0])} reaches for {self.code.text(uses[0])}")
            if other != name and other.owner.bases and not any(map(self._is_bound, uses)):
                raise _NotPlainError(f"{other.owner.name.value} may inherit it")
            if other == name:
                yield from (use for use in uses if use not in targets)

    def _is_bound(self, node: cst.CSTNode) -> bool:
        return isinstance(self.code.parent(node), cst.AssignTarget | cst.AnnAssign)

    def _plain(self, use: cst.CSTNode, plan: Plan) -> tuple[cst.CSTNode, cst.CSTNode]:
        """The use and what it is natively."""
        taken = self.code.taken_from(use)
        side = None if taken is None else plan.sides.get(taken.attr.value)
        if taken is None or side is None:
            raise self._is_used(use)
        expression: cst.CSTNode = taken
        if plan.called:
            expression, side = self._called(taken, side)
        if plan.awaited:
            expression = self._around(expression, cst.Await)
        item = self._around(expression, cst.WithItem)
        block = self._around(item, cst.With)
        if item.asname is not None or (block.asynchronous is not None) is not plan.is_async:
            raise self._is_used(use)
        assert isinstance(use, cst.BaseExpression)
        return expression, cst.Call(cst.Attribute(use, cst.Name(side)))

    def _called(self, taken: cst.Attribute, side: str) -> tuple[cst.CSTNode, str]:
        call = self._around(taken, cst.Call)
        if side:
            if call.args:
                raise self._is_used(call)
            return call, side
        modes = [MODES.get(kind) for each in call.args for kind in self.code.full_names(each.value)]
        if len(call.args) != 1 or len(modes) != 1 or modes[0] is None:
            raise self._is_used(call)
        return call, modes[0]

    def _around(self, node: cst.CSTNode, kind: type[N]) -> N:
        parent = self.code.parent(node)
        if not isinstance(parent, kind):
            raise self._is_used(node)
        return parent

    def _is_used(self, node: cst.CSTNode) -> _NotPlainError:
        """As something else than the side of a block. Shows the whole expression."""
        whole = node
        while isinstance(parent := self.code.parent(whole), cst.BaseExpression):
            whole = parent
        return _NotPlainError(f"line {self.code.line(node)} has more than a block: {self.code.text(whole)}")

    def _stays(self, call: cst.Call, kind: str, why: str) -> None:
        self.findings.append(Finding(self.code.line(call), f"stays a {kind}: {why}"))


# -- imports -----------------------------------------------------------------------------------------------------------


def _is_rwlocks(binding: metadata.BaseAssignment) -> bool:
    return isinstance(binding, metadata.ImportAssignment) and isinstance(binding.node, cst.Import)


def _has_line(code: Code, node: Import) -> bool:
    line = code.parent(node)
    return isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1


def _import_lines(
    survey: _Survey, imports: Iterable[Import], new: Collection[cst.CSTNode]
) -> dict[cst.CSTNode, list[cst.BaseSmallStatement]]:
    """For each line that imports what became native: what it is to import instead."""
    code = survey.code
    replaced = {inner for node in new for inner in code.inside(node)}
    lines: dict[cst.CSTNode, list[cst.BaseSmallStatement]] = {}
    everywhere = any(
        isinstance(binding, metadata.ImportAssignment) and _is_of_module(code, binding.node)
        for binding in code.all_bindings("rwlocks")
    )
    for node in imports:
        line = code.parent(node)
        assert line is not None
        kept = _without_unused(survey, node, replaced)
        lines[line] = [] if kept is None else [kept]
        if not (everywhere and _is_of_module(code, node)):
            lines[line].append(cst.Import([cst.ImportAlias(cst.Name("rwlocks"))]))
        everywhere = everywhere or _is_of_module(code, node)
    return lines


def _is_of_module(code: Code, node: cst.CSTNode) -> bool:
    """Whether a statement is one of the module itself, run whenever the module is."""
    return len(list(code.around(node))) == 2


def _without_unused(survey: _Survey, node: Import, replaced: Collection[cst.CSTNode]) -> Import | None:
    """The import without what only replaced code has used; None if nothing is left."""
    uses: dict[str, list[cst.CSTNode]] = {}
    for name, use in survey.code.references(node):
        uses.setdefault(name, []).append(use)
    assert not isinstance(node.names, cst.ImportStar)
    kept: list[cst.ImportAlias] = []
    for alias in node.names:
        name = alias.evaluated_alias or alias.evaluated_name
        used = uses.get(name, [])
        wanted = name in survey.strings or survey.reached(name) or not used or any(use not in replaced for use in used)
        if wanted:
            kept.append(alias)
    if not kept:
        return None
    return node.with_changes(names=[*kept[:-1], kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)])


class _Exchange(cst.CSTTransformer):
    """Puts new code where old code was."""

    def __init__(self, nodes: Mapping[cst.CSTNode, cst.CSTNode]) -> None:
        super().__init__()
        self.nodes = nodes
        self.lines: Mapping[cst.CSTNode, list[cst.BaseSmallStatement]] = {}

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Any:
        return self.nodes.get(original_node) or super().on_leave(original_node, updated_node)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine] | cst.RemovalSentinel:
        if original_node not in self.lines:
            return updated_node
        new = self.lines[original_node]
        return one_below_the_other(updated_node, new) if new else cst.RemoveFromParent()
