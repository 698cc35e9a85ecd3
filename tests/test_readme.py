"""Every Python example of the README and of the documentation runs as written, and prints what is shown below it."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from _programs import ENVIRONMENT

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)#:]*)(?:#(?P<anchor>[^)]*))?\)")
QUICKSTARTS = ("Threads", "asyncio", "trio", "All of them at once")


class Example(NamedTuple):
    place: str
    code: str
    output: str | None


def examples_of(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(f"{page.name}:{text.count(chr(10), 0, block.start()) + 1}", block["code"], block["output"])
        for block in BLOCK.finditer(text)
    ]


EXAMPLES = [example for page in PAGES for example in examples_of(page)]


def test_no_example_is_overlooked() -> None:
    fence = re.compile(r"^\s*(?:```|~~~)\s*py", re.MULTILINE)
    assert sum(len(fence.findall(page.read_text(encoding="utf-8"))) for page in PAGES) == len(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.place for example in EXAMPLES])
def test_the_example_runs_as_written(example: Example, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(example.code, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT
    )
    assert (done.returncode, done.stderr) == (0, "")
    if example.output is None:
        return
    same = doctest.OutputChecker().check_output(example.output, done.stdout, doctest.ELLIPSIS)
    assert same, f"shown:\n{example.output}\nprinted:\n{done.stdout}"


@pytest.mark.parametrize("heading", QUICKSTARTS)
def test_a_quickstart_has_at_most_twenty_lines(heading: str) -> None:
    _, _, section = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    block = BLOCK.search(section.partition("\n## ")[0])
    assert block is not None
    assert len(block["code"].splitlines()) <= 20


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / link["target"] if link["target"] else page
        assert target.is_file(), link[0]
        if link["anchor"]:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert link["anchor"] in [heading.lower().replace(" ", "-") for heading in headings], link[0]
