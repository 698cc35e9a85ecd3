"""``rwlocks migrate``: the imports of a source tree lead to `rwlocks.compat`, and with ``--native`` beyond it.

A module is rewritten as far as it is understood. What is not stays as it was and is listed: a program whose import was
left runs on as before, on the library that it came from.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rwlocks.cli._migrate_names import LIBRARIES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from rwlocks.cli._migrate_tree import Result

__all__ = ["HELP", "configure", "run"]

HELP: Final = "let a program that uses another lock library use rwlocks: first its imports, then its calls"

LEFT: Final = 1
UNUSABLE: Final = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        f"Rewrites the imports of {', '.join(sorted(LIBRARIES))} to rwlocks.compat, and shows what would change. "
        "Whatever it does not understand it leaves as it was, and lists."
    )
    parser.epilog = "exit code: 0 if everything was understood, 1 if something is listed, 2 if nothing could be done"
    parser.add_argument("path", nargs="+", type=Path, metavar="PATH", help="a file, or a folder with all below it")
    parser.add_argument("--native", action="store_true", help="rewrite plain uses of a lock to rwlocks' own API, too")
    parser.add_argument("--write", action="store_true", help="change the files (default: show the difference)")


def run(options: argparse.Namespace) -> int:
    """Rewrite, report, and return the exit code."""
    if importlib.util.find_spec("libcst") is None:
        print("rwlocks migrate: libcst is not installed; run pip install 'rwlocks[migrate]'", file=sys.stderr)
        return UNUSABLE
    missing = [path for path in options.path if not path.exists()]
    if missing:
        print(f"rwlocks migrate: there is no {missing[0]}", file=sys.stderr)
        return UNUSABLE
    return _migrate(list(_files(options.path)), native=options.native, write=options.write)


def _migrate(files: list[Path], *, native: bool, write: bool) -> int:
    from rwlocks.cli._migrate_tree import Source, Tree

    sources = [Source(file, file.read_bytes()) for file in files]
    tree = Tree(sources)
    changed = left = 0
    for source in sources:
        result = tree.rewritten(source, native=native)
        if result.code != source.code:
            changed += 1
            if write:
                source.path.write_bytes(result.code)
                print(f"rewrote {source.path}")
            else:
                sys.stdout.writelines(_difference(source.path, result))
        for line, why in result.findings:
            left += 1
            print(f"{source.path}:{line}: {why}", file=sys.stderr)
    done = "rewritten" if write else "would change; --write changes them"
    print(f"{_count(changed, 'file')} of {len(files)} {done}. {_count(left, 'place')} left as before.", file=sys.stderr)
    return LEFT if left else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# -- files -------------------------------------------------------------------------------------------------------------


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every Python file once, in order."""
    seen: set[Path] = set()
    for path in paths:
        for file in _below(path) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _below(folder: Path) -> Iterator[Path]:
    """The Python files of a tree, without what others have written: environments, and folders that hide themselves."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not _is_foreign(Path(place, each)))
        yield from (Path(place, each) for each in sorted(files) if each.endswith((".py", ".pyi")))


def _is_foreign(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name == "node_modules" or (folder / "pyvenv.cfg").exists()


def _difference(path: Path, result: Result) -> Iterator[str]:
    """What `patch` and `git apply` take."""
    before, after = ([*re.findall(r"[^\n]*\n|[^\n]+", code)] for code in (result.before, result.after))
    name = path.as_posix().lstrip("/")
    for line in difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
