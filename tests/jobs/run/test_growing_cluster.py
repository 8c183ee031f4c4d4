"""With a range of actors, their number follows the cluster, and the rows are those of the plain loop."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.run.job import run_job
from tests.support.colours import load_colours, make_pdf
from tests.support.engines import QUESTIONS, settings_of
from tests.support.ray_apart import run_apart

DOCUMENTS, PAGES = 24, 17  # two of them do not fit into one bundle


def rows(out: Path) -> list[tuple[object, ...]]:
    columns = ["document", "page", "question_id", "unit_id", "status", "answer", "confidence_raw", "retention"]
    found = pq.read_table(out / "answers", columns=columns).to_pylist()
    return sorted(tuple(row.values()) for row in found)


@pytest.mark.slow
@pytest.mark.timeout(180)  # two nodes, a worker on each, on two cores that others use too
def test_a_node_that_joins_gets_actors_and_the_rows_are_those_of_the_loop(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(DOCUMENTS):
        make_pdf(tmp_path / "in" / f"{number:02}.pdf", [(page, 200, number) for page in range(PAGES)])
    found = json.loads(run_apart("tests.support.growing_cluster", str(tmp_path), str(tiny_base)))

    before, after = found["before"], found["after"]
    assert len(before) == 1  # there was one GPU
    assert len(after) == len({node for node, _ in after}) == 2
    assert before[0] in after
    this_run = found["this_run"]
    assert this_run["bundles"] == DOCUMENTS
    assert this_run["resources"]["actor_range"] == {"least": 1, "most": 4}
    assert (this_run["busy_share"], this_run["model_busy_share"]) == (None, None)  # nobody measured how many there were
    assert this_run["moved_bundles"] < DOCUMENTS / 2  # pages stay where they are rendered, if an actor there is free

    looped = run_job(settings_of(tmp_path / "in", tmp_path / "loop", "local", tiny_base), QUESTIONS, load=load_colours)
    assert looped["counts"] == found["counts"]
    assert rows(tmp_path / "out") == rows(tmp_path / "loop")
    assert len(rows(tmp_path / "out")) == DOCUMENTS * (PAGES + 2)
