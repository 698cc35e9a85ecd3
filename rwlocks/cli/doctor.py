"""``rwlocks doctor``: what there is, what is missing, and what to do about it."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rwlocks.cli._doctor_checks import examine

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rwlocks.cli._doctor_checks import Finding

__all__ = ["HELP", "configure", "run"]

HELP: Final = "what is compiled, in use or missing, and what to do about it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the doctor."""
    parser.epilog = "exit code: 0 if nothing is missing or wrong, 1 otherwise"
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Examine, report, and return the exit code."""
    findings = examine()
    problems = [finding for finding in findings if finding.problem]
    if options.json:
        print(json.dumps(_document(findings), indent=2))
    else:
        _show(findings)
        print(_conclusion(len(problems)))
        for finding in problems:
            print(f"  {finding.label}: {finding.problem}")
    return 1 if problems else 0


def _document(findings: Sequence[Finding]) -> dict[str, object]:
    sections: dict[str, object] = {}
    for section, group in groupby(findings, key=lambda finding: finding.section):
        sections[_key(section)] = {_key(finding.label): finding.value for finding in group}
    return sections | {"problems": {_key(finding.label): finding.problem for finding in findings if finding.problem}}


def _key(words: str) -> str:
    return words.replace(" ", "_")


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.label) for finding in findings)
    for section, group in groupby(findings, key=lambda finding: finding.section):
        print(section)
        for finding in group:
            print(f"{'!' if finding.problem else ' '} {finding.label:<{width}}  {finding.text}".rstrip())
        print()


def _conclusion(problems: int) -> str:
    match problems:
        case 0:
            return "No problems."
        case 1:
            return "One problem:"
        case _:
            return f"{problems} problems:"
