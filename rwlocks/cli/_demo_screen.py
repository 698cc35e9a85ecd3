"""The demo on a terminal, drawn with rich. It is imported when it is shown, for not everybody has it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

from rwlocks import Mode
from rwlocks.cli._demo_plain import COLUMNS, STEP, cells, company, conclusion, rules
from rwlocks.cli._demo_verdict import timeline
from rwlocks.cli._demo_workload import PROCESSES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType
    from rich.text import Text

    from rwlocks.cli._demo_verdict import Verdict
    from rwlocks.cli._demo_workload import Crew, Glimpse, Round

__all__ = ["Screen"]

REDRAW_EVERY: Final = 3  # looks at the lock; each one is a column, but drawing takes time from the workers

# Distinct without colours, and in the two colours that colour-blind people tell apart best.
HELD: Final = {Mode.READ: ("▅", "cyan"), Mode.UPGRADABLE: ("▆", "yellow"), Mode.WRITE: ("█", "bright_magenta")}
HOLDS: Final = {Mode.READ: "reads", Mode.UPGRADABLE: "reads, may write", Mode.WRITE: "writes"}
WAITS: Final = {Mode.READ: "wants to read", Mode.UPGRADABLE: "wants to read", Mode.WRITE: "wants to write"}
WAITING: Final = "·"
KILLED: Final = "✗", "bold red"
HEIGHTS: Final = " ▁▂▃▄▅▆▇█"
LABEL: Final = 14  # columns for a name, and for a state
STATE: Final = 17


@final
class Screen:
    """A piano roll while the rounds go on, then the report."""

    def __init__(self, crew: Crew, policies: Sequence[str], seed: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._crew, self._policies, self._seed = crew, policies, seed
        self._console: Console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._roll_width = max(10, self._console.width - LABEL - STATE - 6)
        self._rolls: dict[str, deque[tuple[str, str]]] = {}
        self._looks = 0
        self._deaths = 0
        for name in crew.names + crew.processes:
            self._rolls[name] = deque(maxlen=self._roll_width)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def look(self, glimpse: Glimpse) -> None:
        names = self._crew.processes if glimpse.policy == PROCESSES else self._crew.names
        words: dict[str, tuple[str, str]] = dict.fromkeys(names, ("", ""))
        cells: dict[str, tuple[str, str]] = dict.fromkeys(names, (" ", ""))
        for holder in glimpse.statistics.holders:
            cells[holder.owner] = HELD[holder.mode]
            words[holder.owner] = HOLDS[holder.mode], HELD[holder.mode][1]
        for waiter in glimpse.statistics.waiters:
            cells[waiter.owner] = WAITING, HELD[waiter.mode][1]
            words[waiter.owner] = WAITS[waiter.mode], "dim"
        for death in glimpse.deaths[self._deaths :]:
            cells[death.worker] = KILLED
            words[death.worker] = "killed", KILLED[1]
        self._deaths = len(glimpse.deaths)
        for name in names:
            self._rolls[name].append(cells[name])
        if self._looks % REDRAW_EVERY == 0:
            self._live.update(self._frame(glimpse, {name: words[name] for name in names}), refresh=True)
        self._looks += 1

    def report(self, rounds: Sequence[Round], verdict: Verdict) -> None:
        show = self._console.print
        width = min(self._console.width - LABEL - 3, 100)
        show(self._title())
        span, column = width * STEP * 1000, STEP * 1000
        show(
            f"\n The busiest {span:.0f} ms of each round, {column:g} ms to a column; higher is more of them",
            style="dim",
        )
        for each in rounds:
            show(self._timeline(each, width))
        show()
        show(self._table(verdict))
        show()
        style = "bold red" if verdict.violations else "bold green"
        for line in conclusion(verdict, self._crew):
            show(f" {line}", style=style, markup=False)
            style = "red" if verdict.violations else "green"

    # -- the parts ---------------------------------------------------------------------------------------------

    def _title(self) -> Text:
        from rich.text import Text

        return Text.assemble(
            (" rwlocks demo", "bold"),
            "  one lock for ",
            company(self._crew),
            f", one for {len(self._crew.processes)} processes" if self._crew.processes else "",
            (f"  seed {self._seed}", "dim"),
        )

    def _frame(self, glimpse: Glimpse, words: dict[str, tuple[str, str]]) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        lines: list[Text] = []
        for name, state in words.items():
            roll = self._rolls[name]
            blank = " " * (self._roll_width - len(roll))
            line = Text(no_wrap=True).append(f" {name:<{LABEL - 1}}").append(blank)
            for glyph, style in roll:
                line.append(glyph, style)
            lines.append(line.append("  ").append(*state))
        return Group(
            self._title(),
            self._progress(glimpse),
            Panel(Text("\n").join(lines), border_style="dim", padding=0, title="who holds the lock, who waits"),
            self._legend(killing=glimpse.policy == PROCESSES),
            self._counts(glimpse),
        )

    def _progress(self, glimpse: Glimpse) -> Text:
        from rich.text import Text

        at = self._policies.index(glimpse.policy)
        line = Text(" ")
        for n, policy in enumerate(self._policies):
            if n == at:
                done = round(10 * glimpse.elapsed / glimpse.seconds)
                line.append(f"{policy} ", "bold").append("━" * done, "green").append("━" * (10 - done), "dim")
            else:
                line.append(f"{policy} ✓" if n < at else policy, "green" if n < at else "dim")
            line.append("   ")
        return line

    def _legend(self, *, killing: bool) -> Text:
        from rich.text import Text

        line = Text(" ")
        for mode, words in HOLDS.items():
            line.append(*HELD[mode]).append(f" {words}   ")
        line.append(WAITING).append(" waits")
        return line.append("   ").append(*KILLED).append(" killed") if killing else line

    def _counts(self, glimpse: Glimpse) -> Text:
        from rich.text import Text

        now = glimpse.statistics
        line = Text(f" {now.acquisitions:,} acquisitions, {len(now.holders)} hold it, {len(now.waiters)} wait, ")
        if glimpse.deaths:
            line.append(f"{len(glimpse.deaths)} killed, the last one {glimpse.deaths[-1].doing}; ")
        if glimpse.violations:
            return line.append(f"{glimpse.violations:,} violations", "bold red")
        return line.append("no violations", "green")

    def _timeline(self, played: Round, width: int) -> Text:
        from rich.text import Text

        text = Text.assemble("\n ", (played.policy, "bold"), (f"  {rules(played.policy)}", "dim"))
        top = len(HEIGHTS) - 1
        instants = timeline(played, width, STEP)
        text.append(f"\n {'inside':<{LABEL}}")
        for now in instants:
            if now.writers:
                text.append(*HELD[Mode.WRITE])
            else:
                text.append(HEIGHTS[min(now.readers, top)], HELD[Mode.READ][1])
        for label, mode, counts in (
            ("readers wait", Mode.READ, [now.waiting_readers for now in instants]),
            ("writers wait", Mode.WRITE, [now.waiting_writers for now in instants]),
        ):
            text.append(f"\n {label:<{LABEL}}", "dim")
            text.append("".join(HEIGHTS[min(n, top)] for n in counts), f"dim {HELD[mode][1]}")
        return text

    def _table(self, verdict: Verdict) -> RenderableType:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1), collapse_padding=True)
        for n, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if n else "left", style="" if n else "bold")
        for summary in verdict.summaries:
            table.add_row(*cells(summary), style="red" if summary.violations else "")
        return table
