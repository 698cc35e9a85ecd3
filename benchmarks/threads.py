"""Threads that fight for one lock with tiny critical sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks import rivals
from rwlocks.cli._bench_contention import COLUMNS, SWITCHES, contend
from rwlocks.cli._bench_tables import Figures, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_contestants import Contestant
    from rwlocks.cli._bench_tables import Table

__all__ = ["tables"]


class Scene(NamedTuple):
    """One way to fight."""

    threads: int
    percent: int
    """of reads."""
    between: int = 0
    """Turns of an empty loop between two sections: 200 last several times as long as a section."""
    split: bool = False
    """Each thread only reads or only writes, not both in turn."""

    @property
    def key(self) -> str:
        """For targets and results."""
        return f"threads/{self.threads}/{self.percent}{'/between' * bool(self.between)}{'/split' * self.split}"

    @property
    def title(self) -> str:
        """For the reader."""
        what = "threads of one kind each" if self.split else "threads"
        return f"{self.threads} {what}, {self.percent} % reads{', work between sections' * bool(self.between)}"


SCENES = (
    *(Scene(8, percent) for percent in (0, 50, 90, 100)),
    Scene(2, 50),
    Scene(32, 50),
    Scene(8, 50, between=200),
    Scene(8, 50, split=True),
)


def tables(given: Settings) -> Iterator[Table]:
    """One for each scene."""
    contestants = given.chosen(rivals.THREADS)
    for scene in given.scaled(SCENES, SCENES[-2:]):

        def measure(contestant: Contestant, scene: Scene = scene) -> Figures:
            return contend(
                contestant,
                scene.threads,
                scene.percent / 100,
                given.scaled(0.3, 0.01),
                seed=given.seed,
                between=scene.between,
                split=scene.split,
            )

        columns = (*COLUMNS, SWITCHES)
        yield fill(scene.key, scene.title, columns, contestants, measure, rounds=given.rounds, seed=given.seed)
