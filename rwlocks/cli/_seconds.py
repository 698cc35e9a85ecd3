"""Seconds, as the command line takes them."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["seconds"]


def seconds(what: str) -> Callable[[str], float]:
    """A type for argparse: a finite number above 0. ``what`` says what the text should have been."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}; give seconds above 0")
        return number

    return parse
