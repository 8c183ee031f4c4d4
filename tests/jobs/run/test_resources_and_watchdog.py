from __future__ import annotations

import subprocess
import sys
import time

import pytest

from jobs.actor_range import ActorRange
from jobs.run.resources import Resources, plan_resources
from jobs.run.watchdog import EXIT_HUNG
from pipeline.errors import UsageError

GIB = 1 << 30


@pytest.mark.parametrize(
    ("cluster", "asked", "want"),
    [
        ((2, 0, 16 * GIB), (None, None), Resources(1, 0.5, 0.0, 2, 1, 1.0, 4 * GIB)),
        ((2, 0, 3 * GIB), (None, None), Resources(1, 0.5, 0.0, 2, 1, 1.0, 3 * GIB // 2)),
        ((2, 0, 16 * GIB), (2, None), Resources(2, 0.5, 0.0, 1, 1, 1.0, 4 * GIB)),
        ((16, 1, 100 * GIB), (None, None), Resources(1, 0.5, 1.0, 16, 3, 1.0, 4 * GIB)),
        ((16, 1, 100 * GIB), (None, 0.5), Resources(2, 0.5, 0.5, 8, 6, 1.0, 4 * GIB)),
        ((64, 8, 500 * GIB), (None, None), Resources(8, 0.5, 1.0, 8, 24, 1.0, 4 * GIB)),
        ((64, 8, 500 * GIB), (None, 0.2), Resources(40, 0.5, 0.2, 1, 44, 1.0, 4 * GIB)),  # 8 // 0.2 is 39
        ((64, 2, 500 * GIB), (None, 0.6), Resources(2, 0.5, 0.6, 32, 6, 1.0, 4 * GIB)),  # .4 and .4 are left, no .6
        ((64, 2.5, 500 * GIB), (None, 0.25), Resources(10, 0.5, 0.25, 6, 30, 1.0, 4 * GIB)),
        ((32, 0, 100 * GIB), (None, None), Resources(2, 0.5, 0.0, 16, 6, 1.0, 4 * GIB)),
        ((1, 0, 16 * GIB), (None, None), Resources(1, 0.25, 0.0, 1, 1, 0.5, 4 * GIB)),
        ((64, 0, 5 * GIB), (None, None), Resources(4, 0.5, 0.0, 16, 5, 1.0, GIB)),
    ],
)
def test_how_a_cluster_is_shared(
    cluster: tuple[float, float, int], asked: tuple[int | None, float | None], want: Resources
) -> None:
    plan = plan_resources(*cluster, *asked, "auto")
    assert plan == want
    assert plan.actor_cpus != plan.render_cpus  # equal ones fuse


@pytest.mark.parametrize(
    ("cluster", "nodes", "actors"),
    [
        ((2, 0, 4 * GIB), 2, 2),
        ((2, 0, 4 * GIB), 2, ActorRange(1, 4)),
        ((4, 4, 8 * GIB), 4, None),  # a CPU and a GPU each
        ((6, 0, 32 * GIB), 3, 7),
        ((320, 20, 900 * GIB), 20, None),
    ],
)
def test_a_renderer_fits_on_a_node_wherever_the_actors_are(
    cluster: tuple[float, float, int], nodes: int, actors: int | ActorRange | None
) -> None:
    plan = plan_resources(*cluster, actors, None, "auto", nodes)
    most = actors.most if isinstance(actors, ActorRange) else plan.actors
    free = cluster[0] - most * plan.actor_cpus
    assert plan.render_cpus <= free / nodes + 1e-9  # however it is divided, one node has as much
    assert plan.render_cpus > 0.3
    assert plan.render_memory_bytes <= cluster[2] / nodes
    assert plan.actor_cpus != plan.render_cpus
    assert (plan.render_cpus == 1) == (nodes == 20)


def test_no_gpu_is_taken_that_may_not_be_used() -> None:
    assert plan_resources(16, 4, GIB * 64, None, None, "cpu").actor_gpus == 0
    assert plan_resources(16, 4, GIB * 64, None, None, "cuda").actor_gpus == 1


@pytest.mark.parametrize(
    ("cluster", "asked", "device", "message"),
    [
        ((2, 0, GIB), (4, None), "auto", "ask for 2 --actors at most"),
        ((1, 0, GIB), (9, None), "auto", "ask for 2 --actors at most"),
        ((8, 1, GIB), (2, None), "cuda", "do not fit on the 1 there are; ask for 1 --actors"),
        ((64, 2, GIB), (3, 0.6), "cuda", "3 actors with 0.6 GPUs each do not fit on the 2 there are; ask for 2 --act"),
        ((8, 0, GIB), (None, 1), "auto", "exceeds the 0 GPUs that --device auto can use"),
        ((8, 2, GIB), (None, 1), "cpu", "--gpus-per-actor 1 exceeds .* --device cpu"),
        ((8, 0, GIB), (None, None), "cuda", "Ray sees no GPU"),
        ((8, 0, GIB // 2), (None, None), "auto", "rendering needs 1 GiB"),
    ],
)
def test_what_cannot_run_is_refused(
    cluster: tuple[float, float, int], asked: tuple[int | None, float | None], device: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan_resources(*cluster, *asked, device)


WATCHED = """
import time
from types import SimpleNamespace
from jobs.run.watchdog import Watchdog
work = SimpleNamespace(page_started_at=None)
dog = Watchdog(work, {deadline}, interval_s=0.02, warm_up_s={warm_up})
for seconds in {pages}:
    work.page_started_at = time.monotonic()
    time.sleep(seconds)
    work.page_started_at = None
    time.sleep(0.1)
print("alive", dog.allowed_s())
"""


@pytest.mark.parametrize(
    ("deadline", "warm_up", "pages", "code"),
    [
        ("0.5", "0", "[0.1, 0.1, 30]", EXIT_HUNG),
        ("0.5", "0.5", "[30]", EXIT_HUNG),
        ("0.5", "60", "[1, 0.1]", 0),  # the first page of a process takes longer
        ("5", "0", "[0.1, 0.1]", 0),
        ("None", "0", "[0.1, 0.2, 0.1]", 0),
    ],
)
def test_a_page_past_the_deadline_ends_the_process(deadline: str, warm_up: str, pages: str, code: int) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(deadline=deadline, warm_up=warm_up, pages=pages)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert ("alive" in done.stdout) == (code == 0)
    assert time.monotonic() - started < 20
