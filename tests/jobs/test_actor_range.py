from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.actor_range import ActorRange, read_actors
from jobs.run.resources import plan_resources
from jobs.settings import RunSettings
from pipeline.errors import UsageError

GIB = 1 << 30


def settings(actors: Any) -> RunSettings:
    return RunSettings(input=("in",), questions="q", output="o", actors=actors)


@pytest.mark.parametrize(
    ("given", "read", "written"),
    [
        (4, 4, 4),
        ("4", 4, 4),
        ("4-20", ActorRange(4, 20), "4-20"),
        ("4-4", 4, 4),
        (" 1-2 ", ActorRange(1, 2), "1-2"),
        (ActorRange(2, 3), ActorRange(2, 3), "2-3"),
        (None, None, None),
    ],
)
def test_a_number_or_a_range(given: Any, read: Any, written: Any) -> None:
    run = settings(given)
    assert run.actors == read
    assert run.flat()["actors"] == written
    assert RunSettings.model_validate(json.loads(run.model_dump_json())) == run


@pytest.mark.parametrize("given", [0, -1, "0", "4-", "-4", "20-4", "0-4", "four", "1-2-3", "", 1.5, True, [4]])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="--actors: expected a number of 1 or more, or a range such as 4-20"):
        read_actors(given)
    with pytest.raises(ValidationError):
        settings(given)


def test_the_local_engine_holds_one_model() -> None:
    with pytest.raises(ValidationError, match="leave --actors 2-4 out"):
        RunSettings(input=("in",), questions="q", output="o", engine="local", actors="2-4")


@pytest.mark.parametrize(
    ("cluster", "actors", "at_start"),
    [
        ((64, 8, 500 * GIB), "4-20", 8),  # one per GPU that is there
        ((64, 2, 500 * GIB), "1-4", 2),
        ((200, 32, 900 * GIB), "4-20", 20),
        ((64, 0, 500 * GIB), "1-20", 4),  # one per 16 cores
        ((2, 0, 16 * GIB), "1-4", 1),
    ],
)
def test_a_range_starts_with_what_the_cluster_holds(
    cluster: tuple[float, float, int], actors: str, at_start: int
) -> None:
    given = read_actors(actors)
    assert isinstance(given, ActorRange)
    planned = plan_resources(*cluster, given, None, "auto")
    fixed = plan_resources(*cluster, at_start, None, "auto")
    assert (planned.actors, planned.actor_range) == (at_start, given)
    assert planned.renders == fixed.renders == fixed.most_renders
    assert (planned.actor_threads, planned.actor_cpus) == (fixed.actor_threads, fixed.actor_cpus)
    assert planned.most_renders == 3 * given.most


def test_the_least_of_a_range_has_to_fit() -> None:
    with pytest.raises(UsageError, match="3 actors with 1 GPUs each do not fit on the 2 there are"):
        plan_resources(64, 2, 500 * GIB, ActorRange(3, 20), None, "auto")
