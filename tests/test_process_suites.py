"""Whatever the tests of `RWLock` show, of `ProcessRWLock`; see `_over_processes`.

Left out are those that put the lock's own clock forward, look at the queue or the mutex of an engine, or hear a grant
where it was released: whoever receives it tells of it.
"""

from __future__ import annotations

from _over_processes import over_processes

globals().update(
    **over_processes("decorators"),
    **over_processes(
        "observer", without={"test_a_wait_is_granted_by_the_thread_that_releases_and_told_in_grant_order"}
    ),
    **over_processes("views", slow=True),
    **over_processes("golden_traces", slow=True),
    **over_processes("upgrades", slow=True),
    **over_processes("owner_rules", slow=True),
    **over_processes(
        "abandoned",
        without={
            "test_the_finaliser_takes_no_lock",
            "test_one_that_is_dropped_while_a_waiter_queues_is_not_overlooked",
        },
        slow=True,
    ),
    **over_processes(
        "acquire_all",
        without={
            "test_a_keyboard_interrupt_leaves_nothing",
            "test_it_keeps_its_first_arrival_time_but_not_its_place",
            "test_the_timeout_is_for_all_rounds_together",
        },
        slow=True,
    ),
)
