"""Policies as users meet them: names, objects, what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest

from rwlocks import policies
from rwlocks._types import PolicyName
from rwlocks.policies import Fifo, Order, PhaseFair, Policy, ReaderPreference, WriterPreference, policy_named

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES: Final[dict[str, Callable[..., Policy]]] = {
    "reader-pref": ReaderPreference,
    "writer-pref": WriterPreference,
    "fifo": Fifo,
    "phase-fair": PhaseFair,
}
BOUNDS: Final[list[tuple[Callable[..., Policy], str]]] = [
    (ReaderPreference, "max_writer_wait"),
    (WriterPreference, "max_consecutive_writers"),
    (Fifo, "max_batch"),
    (PhaseFair, "max_batch"),
]
COUNTED: Final = BOUNDS[1:]
EXAMPLES: Final[list[Policy]] = [
    *(make() for make in CLASSES.values()),
    *(make(**{bound: 3}) for make, bound in BOUNDS),
    *(make(patience=0.25) for make in CLASSES.values()),
    Fifo(2, patience=0),
]


@pytest.mark.parametrize(("name", "make"), CLASSES.items(), ids=CLASSES)
def test_a_name_stands_for_the_policy_without_bounds(name: str, make: Callable[..., Policy]) -> None:
    assert policy_named(name) == make()
    assert policy_named(name).name == name
    assert set(policy_named(name).bounds().values()) == {None}
    assert policy_named(name).patience is None


def test_the_names_are_those_that_editors_complete() -> None:
    assert set(CLASSES) == set(get_args(PolicyName))


def test_the_public_names_exist() -> None:
    assert all(hasattr(policies, name) for name in policies.__all__)


def test_an_object_stands_for_itself() -> None:
    policy = Fifo(3)
    assert policy_named(policy) is policy


def test_the_four_policies_are_the_table() -> None:
    readers, writers, arrival = Order.READERS_FIRST, Order.WRITERS_FIRST, Order.ARRIVAL
    assert {name: (p.after_write, p.while_reading) for name in CLASSES for p in [policy_named(name)]} == {
        "reader-pref": (readers, readers),
        "writer-pref": (writers, writers),
        "fifo": (arrival, arrival),
        "phase-fair": (readers, writers),
    }


@pytest.mark.parametrize("unknown", ["", "FIFO", "fair", "phase_fair"])
def test_an_unknown_name_is_answered_with_the_known_ones(unknown: str) -> None:
    with pytest.raises(ValueError, match="unknown policy") as caught:
        policy_named(unknown)
    assert repr(unknown) in str(caught.value)
    assert all(repr(name) in str(caught.value) for name in CLASSES)


@pytest.mark.parametrize("nonsense", [None, 3, b"fifo", Fifo, Order.ARRIVAL])
def test_what_is_no_policy_is_answered_with_the_known_ones(nonsense: Any) -> None:
    with pytest.raises(TypeError, match="is not a policy") as caught:
        policy_named(nonsense)
    assert all(repr(name) in str(caught.value) for name in CLASSES)


def test_the_common_base_has_no_rules() -> None:
    with pytest.raises(TypeError, match="ReaderPreference, WriterPreference, Fifo, PhaseFair"):
        Policy()


@pytest.mark.parametrize("policy", EXAMPLES, ids=repr)
def test_copies_are_equal(policy: Policy) -> None:
    for twin in (pickle.loads(pickle.dumps(policy)), copy.copy(policy), copy.deepcopy(policy)):
        assert twin == policy
        assert hash(twin) == hash(policy)
        assert type(twin) is type(policy)
        assert repr(twin) == repr(policy)
        assert twin.bounds() == policy.bounds()
        assert twin.patience == policy.patience


@pytest.mark.parametrize("policy", EXAMPLES, ids=repr)
def test_the_repr_makes_an_equal_policy(policy: Policy) -> None:
    assert eval(repr(policy), dict(vars(policies))) == policy


def test_all_examples_differ() -> None:
    assert len(set(EXAMPLES)) == len(EXAMPLES)
    assert Fifo(3) != PhaseFair(3)
    assert Fifo() != "fifo"
    assert Fifo(patience=0) != Fifo()
    assert ReaderPreference(1) == ReaderPreference(1.0)


@pytest.mark.parametrize("policy", EXAMPLES, ids=repr)
@pytest.mark.parametrize("attribute", ["patience", "max_batch", "name", "anything"])
def test_a_policy_is_immutable(policy: Policy, attribute: str) -> None:
    before = repr(policy), hash(policy)
    with pytest.raises(AttributeError, match="immutable"):
        setattr(policy, attribute, 1)
    with pytest.raises(AttributeError, match="immutable"):
        delattr(policy, attribute)
    assert (repr(policy), hash(policy)) == before


@pytest.mark.parametrize(("make", "bound"), BOUNDS)
def test_a_bound_is_kept_under_its_name(make: Callable[..., Policy], bound: str) -> None:
    assert make(**{bound: 5}) == make(5)
    assert make(5).bounds() == {bound: 5}
    assert getattr(make(5), bound) == 5
    assert f"{bound}=5" in repr(make(5))


@pytest.mark.parametrize(("make", "bound"), BOUNDS)
def test_the_bounds_of_others_are_not_taken(make: Callable[..., Policy], bound: str) -> None:
    for _, other in BOUNDS:
        if other != bound:
            with pytest.raises(TypeError, match=other):
                make(**{other: 5})


@pytest.mark.parametrize(("make", "bound"), COUNTED)
def test_a_count_is_a_whole_number_of_at_least_one(make: Callable[..., Policy], bound: str) -> None:
    for few in (0, -1):
        with pytest.raises(ValueError, match=f"{bound} is {few}; give at least 1"):
            make(few)
    for nonsense in (1.5, "3", True, math.inf, [1]):
        with pytest.raises(TypeError, match=f"{bound} is .*; give a whole number"):
            make(nonsense)


@pytest.mark.parametrize(
    ("make", "what"),
    [(ReaderPreference, "max_writer_wait"), *((make, "patience") for make in CLASSES.values())],
)
def test_seconds_are_a_number_of_at_least_zero(make: Callable[..., Policy], what: str) -> None:
    assert getattr(make(**{what: 0}), what) == 0.0
    assert getattr(make(**{what: math.inf}), what) == math.inf
    for bad in (-0.001, math.nan, -math.inf):
        with pytest.raises(ValueError, match=f"{what} is .*; give seconds of at least 0"):
            make(**{what: bad})
    for nonsense in ("1", True, [1], 1j):
        with pytest.raises(TypeError, match=f"{what} is .*; give seconds as a number"):
            make(**{what: nonsense})
