"""The command line itself; each command has its own tests."""

from __future__ import annotations

import subprocess
import sys

import pytest
from _programs import ENVIRONMENT

import rwlocks
from rwlocks.cli import COMMANDS, main


def command_line(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "rwlocks", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == code, done.stderr
    return done


def test_the_module_is_the_command() -> None:
    assert "usage: rwlocks [-h]" in command_line("--help").stdout


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert [name for name, command in COMMANDS.items() if f"{name} {command.HELP}" not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    assert f"usage: rwlocks {command}" in capsys.readouterr().out


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(rwlocks), "__version__", "1.2.3")
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == "rwlocks 1.2.3\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no command; the known ones are run, status, unlink, "),
        (["dance"], "invalid choice: 'dance'"),
        (["demo", "--policy", "lifo"], "invalid choice: 'lifo'"),
        (["demo", "--seconds", "0"], "'0' is no time to play; give seconds above 0"),
        (["demo", "--seconds", "nan"], "'nan' is no time to play"),
        (["demo", "--seconds", "inf"], "'inf' is no time to play"),
        (["demo", "--seconds", "soon"], "'soon' is no time to play"),
        (["bench", "--seconds", "inf"], "'inf' is no time to measure; give seconds above 0"),
        (["bench", "--policy", "lifo"], "invalid choice: 'lifo'"),
        (["demo", "--seed", "x"], "invalid int value: 'x'"),
    ],
)
def test_mistakes_are_named(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert complaint in capsys.readouterr().err


LOADED = """
import sys
from rwlocks.cli import main

try:
    main(sys.argv[1:])
except SystemExit:
    pass
commands = {name for name in sys.modules if name.startswith("rwlocks.cli.") and "._" not in name}
print(sorted(commands), sorted({"rich", "trio", "anyio"} & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["run", "--help"], ["doctor", "--help"], ["demo", "--help"], ["--help"]])
def test_the_command_line_loads_what_is_asked_for_and_no_runtime_and_no_terminal_library(arguments: list[str]) -> None:
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    asked_for = sorted(COMMANDS) if arguments == ["--help"] else arguments[:1]
    assert done.stdout.splitlines()[-1] == f"{[f'rwlocks.cli.{name}' for name in asked_for]} []"


def test_a_name_that_is_no_command_is_none() -> None:
    assert "dance" not in COMMANDS
    with pytest.raises(KeyError):
        COMMANDS["dance"]


def test_a_reader_of_the_output_may_leave_early() -> None:
    command = [sys.executable, "-m", "rwlocks", "demo", "--seconds", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) == (1, b"")
