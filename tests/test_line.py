"""The sorted line: order, ties, and what it costs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwlocks._line import Line, Place


def check_links(line: Line) -> None:
    """Forwards and backwards it is the same line."""
    forwards: list[Place] = []
    place = line.head
    while place is not None:
        forwards.append(place)
        place = place.after
    backwards: list[Place] = []
    place = line.tail
    while place is not None:
        backwards.append(place)
        place = place.before
    assert forwards == backwards[::-1]
    assert [place.who for place in forwards] == line.everybody()
    assert line.length == len(forwards)


def test_an_empty_line() -> None:
    line: Line = Line()
    assert line.head is None
    assert line.tail is None
    assert line.everybody() == []
    check_links(line)


def test_equal_keys_stand_in_the_order_in_which_they_joined() -> None:
    line: Line = Line()
    for who, key in [("first", 1.0), ("last", 2.0), ("second", 1.0), ("third", 1.0)]:
        line.join(who, key)
    assert line.everybody() == ["first", "second", "third", "last"]


def test_an_old_arrival_comes_back_to_its_place() -> None:
    line: Line = Line()
    places = [line.join(str(key), key) for key in range(5)]
    line.leave(places[1])
    line.leave(places[0])
    line.join("1", 1)
    assert line.everybody() == ["1", "2", "3", "4"]
    line.join("0", 0)
    assert line.everybody() == ["0", "1", "2", "3", "4"]
    check_links(line)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_it_behaves_like_a_sorted_list(moves: list[tuple[bool, int]]) -> None:
    line: Line = Line()
    model: list[tuple[int, int, Place]] = []
    for number, (joins, key) in enumerate(moves):
        if joins or not model:
            model.append((key, number, line.join(str(number), key)))
            model.sort(key=lambda entry: entry[:2])
        else:
            line.leave(model.pop(key % len(model))[2])
        assert line.everybody() == [place.who for _, _, place in model]
        check_links(line)


@pytest.mark.parametrize("length", [1_000, 100_000])
def test_joining_in_order_and_leaving_in_any_order_take_one_step_each(length: int) -> None:
    line: Line = Line()
    places = [line.join(who, who) for who in range(length)]
    assert line.steps == length
    random.Random(length).shuffle(places)
    for place in places:
        line.leave(place)
    assert line.steps == 2 * length
    assert line.head is line.tail is None
