"""A cluster loses a node, gains one and loses its driver in the middle of a run: the rows are those of a plain loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.run.job import run_job
from tests.support.colours import load_colours, make_pdf
from tests.support.killed_runs import compared
from tests.support.three_nodes import asked, settings


@pytest.mark.slow
@pytest.mark.timeout(330)  # it starts a Ray of three nodes and two drivers, on a machine that others keep busy
def test_a_node_that_goes_one_that_comes_and_a_driver_that_dies_change_no_row(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(8):  # each fills a bundle
        make_pdf(tmp_path / "in" / f"{number}.pdf", [(number, page, 100) for page in range(17)])
    given, out, loop = (str(tmp_path / name) for name in ("in", "out", "loop"))
    call = "import sys; from tests.support.three_nodes import report; report(*sys.argv[1:])"  # workers import it, too
    command = [sys.executable, "-c", call, given, out, str(tiny_base)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, complaints = process.communicate(timeout=280)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, complaints
    happened = json.loads(said.splitlines()[-1])
    assert (happened["exit_code"], happened["parts"][-1]) == (0, 8), (happened, complaints)
    assert 0 < happened["parts"][0] < happened["parts"][1] < 8

    run_job(settings(given, loop, str(tiny_base), "local"), asked(), load=load_colours)
    found = compared(Path(out), Path(loop))
    assert found.pop("rows") > 8 * 17
    assert set(found.values()) == {0}, found
