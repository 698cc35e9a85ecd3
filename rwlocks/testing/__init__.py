"""Tools to test with: for our own tests, and for those of programs that use rwlocks."""

from __future__ import annotations

from rwlocks.testing._clock import ManualClock
from rwlocks.testing._waiting import wait_until_parked, wait_until_spent

__all__ = ["ManualClock", "wait_until_parked", "wait_until_spent"]
