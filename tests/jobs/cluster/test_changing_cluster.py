"""A cluster loses a node, its driver, and gains a node: the rows are those of a plain loop, and actors follow nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.run.job import run_job
from tests.support.colours import load_colours, make_pdf
from tests.support.engines import QUESTIONS, settings_of
from tests.support.killed_runs import compared
from tests.support.ray_apart import run_apart

DOCUMENTS, PAGES = 28, 17  # two of them do not fit into one bundle


@pytest.mark.slow
def test_a_node_that_goes_a_driver_that_dies_and_a_node_that_joins_change_no_row(
    tmp_path: Path, tiny_base: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(DOCUMENTS):
        make_pdf(tmp_path / "in" / f"{number:02}.pdf", [(page, 200, number) for page in range(PAGES)])
    said = run_apart("tests.support.changing_cluster", str(tmp_path), str(tiny_base))
    found = json.loads(said.splitlines()[-1])  # Ray tells of the node that goes

    assert found["exit_code"] == 0
    at_removal, at_kill, at_end = found["parts"]
    assert 0 < at_removal < at_kill < at_end == DOCUMENTS
    before, after = found["before"], found["after"]
    assert len(before) == 1  # there was one GPU left
    assert len(after) == len({node for node, _ in after}) == 2
    assert before[0] in after
    this_run = json.loads((tmp_path / "out" / "run.json").read_text())["this_run"]
    assert this_run["resources"]["actor_range"] == {"least": 1, "most": 4}
    assert (this_run["busy_share"], this_run["model_busy_share"]) == (None, None)  # nobody measured how many there were
    assert this_run["moved_bundles"] < this_run["bundles"] / 2  # a page stays where it is rendered, if an actor is free

    run_job(settings_of(tmp_path / "in", tmp_path / "loop", "local", tiny_base), QUESTIONS, load=load_colours)
    rows = compared(tmp_path / "out", tmp_path / "loop")
    assert rows.pop("rows") > DOCUMENTS * (PAGES + 2)
    assert set(rows.values()) == {0}, rows
