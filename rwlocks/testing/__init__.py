"""Tools to test with: for our own tests, and for those of programs and backends that use rwlocks."""

from __future__ import annotations

from rwlocks.testing._clock import ManualClock
from rwlocks.testing._contract import AsyncBackendContract, SteppedLoop, SyncBackendContract
from rwlocks.testing._explorer import explore
from rwlocks.testing._waiting import wait_until_parked, wait_until_spent

__all__ = [
    "AsyncBackendContract",
    "ManualClock",
    "SteppedLoop",
    "SyncBackendContract",
    "explore",
    "wait_until_parked",
    "wait_until_spent",
]
