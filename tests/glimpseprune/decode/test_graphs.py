"""When a step is recorded as a graph, and when it is not; what a graph computes is shown on a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from glimpseprune.decode.graphs import MOST_ROWS, StepGraphs, graphs_for, rows_for
from glimpseprune.decode.greedy import Choice

CHOICE = Choice(*[torch.zeros(())] * 4)


class Device:
    """Notes what the graphs ask of CUDA, and records nothing."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.error: RuntimeError | None = None

    def step(self) -> Choice:
        self.noted.append("step")
        return CHOICE

    @contextmanager
    def graph(self, *_: object, **__: object) -> Iterator[None]:
        self.noted.append("record")
        yield
        if self.error is not None:
            raise self.error


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    stream = SimpleNamespace(wait_stream=lambda other: None)
    graph = SimpleNamespace(replay=lambda: found.noted.append("replay"))
    stubs: dict[str, Any] = {
        "Stream": lambda device: stream,
        "current_stream": lambda device: stream,
        "stream": lambda stream: nullcontext(),
        "set_stream": lambda stream: found.noted.append("stream is put back"),
        "device": lambda device: nullcontext(),
        "graph_pool_handle": object,
        "CUDAGraph": lambda: graph,
        "graph": found.graph,
    }
    monkeypatch.setattr(StepGraphs, "_fail", False)
    monkeypatch.setattr("glimpseprune.decode.graphs._streams", SimpleNamespace())
    for name, stub in stubs.items():
        monkeypatch.setattr(torch.cuda, name, stub)
    return found


def noted(device: Device, graphs: StepGraphs, key: tuple[int, int] = (4, 256), left: int = 20) -> list[str]:
    """What one step asks of the device."""
    device.noted.clear()
    assert graphs.run(key, device.step, left) is CHOICE
    return list(device.noted)


def test_the_second_step_of_a_key_is_recorded_and_all_later_ones_are_repeats(device: Device) -> None:
    graphs = StepGraphs(torch.device("cuda"))
    assert noted(device, graphs) == ["step"]
    assert noted(device, graphs) == ["record", "step", "replay"]
    assert noted(device, graphs) == ["replay"]
    assert noted(device, graphs, (8, 256)) == ["step"]
    assert noted(device, graphs, left=1) == ["replay"]
    graphs.forget()
    assert noted(device, graphs) == ["step"]


def test_what_is_not_worth_it_is_not_recorded(device: Device) -> None:
    graphs = StepGraphs(torch.device("cuda"))
    for _ in range(3):
        assert noted(device, graphs, left=7) == ["step"]
        assert noted(device, graphs, (MOST_ROWS + 1, 256)) == ["step"]


def test_after_a_failure_steps_run_as_they_are(device: Device) -> None:
    graphs = StepGraphs(torch.device("cuda"))
    noted(device, graphs)
    device.error = RuntimeError("operation not permitted when stream is capturing")
    with pytest.warns(UserWarning, match=r"with 4 rows as a CUDA graph, found operation not permitted.*slower"):
        assert noted(device, graphs) == ["record", "step", "stream is put back", "step"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert noted(device, graphs) == ["step"]
        assert noted(device, graphs, (8, 256)) == ["step"]
        other = StepGraphs(torch.device("cuda"))
        assert [noted(device, other) for _ in range(2)] == [["step"], ["step"]]


def test_memory_that_runs_out_in_the_step_itself_is_told(device: Device) -> None:
    def full() -> Choice:
        raise torch.OutOfMemoryError("full")

    graphs = StepGraphs(torch.device("cuda"))
    with pytest.raises(torch.OutOfMemoryError):
        graphs.run((4, 256), full, 20)
    assert noted(device, graphs) == ["step"]  # which sets up what a recording needs


def test_few_numbers_of_rows() -> None:
    assert [rows_for(count) for count in (1, 2, 3, 5, 8, 9, 64, 65, 200)] == [1, 2, 4, 8, 8, 16, 64, 65, 200]


def test_a_cpu_has_no_graphs() -> None:
    assert graphs_for(torch.device("cpu")) is None
