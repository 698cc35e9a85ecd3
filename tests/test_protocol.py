"""`ReadWriteLock`: what code annotates that takes any lock of the package. The type checkers do most of the testing."""

from __future__ import annotations

import inspect

import pytest

from rwlocks import LockView, Mode, ReadWriteLock, RWLock


def public(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def use(lock: ReadWriteLock) -> None:
    with lock.read(timeout=1) as reader, reader.upgrade():
        assert lock.locked() is Mode.WRITE
    with lock.upgradable() as guard:
        guard.downgrade()
    with lock.write(timeout=0), lock.watch(Mode.READ) as watch:
        assert not watch.is_set()
    assert lock.acquirable(Mode.WRITE)
    assert lock.statistics().acquisitions == 3
    use_view(lock.reader)
    use_view(lock.writer)
    assert not lock.locked()


def use_view(view: LockView) -> None:
    assert view.acquire(timeout=1)
    assert view.locked()
    view.release()
    with view:
        assert view.locked()
    assert not view.locked()


def test_an_rwlock_is_one() -> None:
    use(RWLock())


@pytest.mark.parametrize(("protocol", "real"), [(ReadWriteLock, RWLock), (LockView, type(RWLock().reader))])
def test_it_promises_what_is_there(protocol: type, real: type) -> None:
    assert public(protocol) <= public(real)
    for name in public(protocol):
        promised, offered = getattr(protocol, name), getattr(real, name)
        if inspect.isfunction(promised):
            assert list(inspect.signature(promised).parameters) == list(inspect.signature(offered).parameters)
