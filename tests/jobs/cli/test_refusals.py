"""What a command cannot do ends with one line, exit code 2 and no traceback, before any work is spent."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli.main import app, main
from pipeline.samples.write import pick_seeds, write_samples

RUN = "--questions q.yaml --engine local"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder, pick_seeds(0, 1))
    return folder


@pytest.fixture
def refused(tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls a command that has to be refused, and returns the line it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").symlink_to(samples)
    (tmp_path / "FILE").write_text("mine")
    (tmp_path / "q.yaml").write_text("version: 1\nquestions: [{id: a, text: b}]")

    def call(command: str, *more: str) -> str:
        outcome = CliRunner().invoke(app, [*command.split(), *more])
        assert outcome.exit_code == 2, outcome.output
        assert isinstance(outcome.exception, SystemExit)
        (line,) = outcome.stderr.splitlines()
        assert line.startswith("docpipe: ")
        assert (tmp_path / "FILE").read_text() == "mine"
        return line.removeprefix("docpipe: ")

    return call


@pytest.mark.parametrize(
    "command",
    [
        f"run -i s/pdfs -o out {RUN}",
        "plan -i s/pdfs -o out -q q.yaml",
        "run -i s/pdfs -o out -q q.yaml --address http://head:8265",
        "demo --out d",
        "eval --data s --out e.parquet",
        "doctor",
    ],
)
@pytest.mark.parametrize("device", ["tpu", "CUDA", "cuda:x", "mps", "", "gpu"])
def test_point_19_a_device_that_is_none(refused: Any, command: str, device: str) -> None:
    assert refused(command, "--device", device) == (
        f"--device {device}: expected auto, cpu, cuda or cuda:N, where N counts the GPUs from 0"
    )
    assert not Path("out").exists()


@pytest.mark.parametrize("command", [f"run -i s/pdfs -o out {RUN}", "eval --data s --out e.parquet", "doctor"])
def test_point_19_a_device_that_is_not_there(refused: Any, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for gpus, device, found in ((0, "cuda", "found none"), (2, "cuda:2", "found 2, counted from 0")):
        monkeypatch.setattr("torch.cuda.device_count", lambda gpus=gpus: gpus)
        line = refused(f"{command} --device {device}" + (" --quiet" if "doctor" not in command else ""))
        assert line == f"--device {device} needs a GPU, {found}; `docpipe doctor` lists the devices"


@pytest.mark.parametrize("command", [f"run -i s/pdfs -o out {RUN} --quiet", "eval --data s --out e.parquet --quiet"])
@pytest.mark.parametrize(
    ("more", "found"),
    [("--device cpu", "a model that runs on the CPU"), ("--dtype float32", "--dtype float32"), ("", "no flash-attn")],
)
def test_flash_attention_that_cannot_run(
    refused: Any, command: str, more: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "cpu" not in more:  # a machine with a GPU
        monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    spec = None if "flash-attn" in found else object()
    monkeypatch.setattr("jobs.model_choice.find_spec", lambda _name: spec)
    assert refused(f"{command} --attn flash_attention_2 {more}") == (
        f"--attn flash_attention_2 needs a GPU, 16-bit weights and the package flash-attn, found {found}; leave --attn "
        "out, or take --attn sdpa"
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("samples --out FILE", "cannot write FILE/pdfs: [Errno 20]"),
        ("samples --out FILE/sub", "cannot write FILE/sub/pdfs: [Errno 20]"),
        ("samples --out /proc/x", "cannot write /proc/x/pdfs: "),
        ("demo --out FILE", "cannot write FILE/pdfs: [Errno 20]"),
        ("demo --out FILE/sub", "cannot write FILE/sub/pdfs: [Errno 20]"),
        (f"run -i s/pdfs -o FILE {RUN}", "FILE: expected a folder, found a file"),
        (f"run -i s/pdfs -o /dev/full {RUN}", "/dev/full: expected a folder, found a device, pipe or socket; name a"),
        ("plan -i s/pdfs -o /dev/full -q q.yaml", "/dev/full: expected a folder, found a device, pipe or socket"),
        (f"run -i s/pdfs -o FILE/sub {RUN}", "cannot write FILE/sub/"),
        (f"run -i s/pdfs -o /proc/x {RUN}", "cannot write /proc/x/"),
        ("plan -i s/pdfs -o FILE -q q.yaml", "FILE: expected a folder, found a file"),
        ("plan -i s/pdfs -o FILE/sub -q q.yaml", "cannot list FILE/sub/"),
        ("eval --data s --out FILE", "FILE exists and is no Parquet file"),
        ("eval --data s --out s/truth.jsonl", "s/truth.jsonl exists and is no Parquet file"),
        ("eval --data s --out s", "cannot write s: [Errno 21]"),
        ("eval --data s --out FILE/x", "cannot write FILE: [Errno 17]"),
        ("eval --data s --out /proc/x/e.parquet", "cannot write /proc/x: "),
        ("train glimpse --data s --out FILE", "cannot write "),
        ("train glimpse --data s --out FILE/sub", "cannot write "),
        ("train nano --out FILE", "cannot write "),
        ("train nano --out FILE/sub", "cannot write "),
    ],
)
def test_point_19_an_output_that_cannot_be_written(refused: Any, command: str, reason: str) -> None:
    assert refused(command).startswith(reason)


@pytest.mark.parametrize("code", [13, 28, 30, 122])
@pytest.mark.parametrize(
    "command", ["samples --out new", "demo --out new", f"run -i s/pdfs -o new {RUN}", "train nano --out new"]
)
def test_point_19_a_full_or_read_only_disk(
    refused: Any, command: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    for make in ("os.makedirs", "pathlib.Path.mkdir"):
        monkeypatch.setattr(make, refuse)
    line = refused(command)
    assert os.strerror(code) in line
    assert line.endswith("check access and free space, then run the same command again")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"run -i nope -o out {RUN}", "--input nope: no such file or folder"),
        ("plan -i nope -o out -q q.yaml", "--input nope: no such file or folder"),
        ("eval --data nope --out e.parquet", "--data nope: expected a folder made by"),
        ("train glimpse --data nope --out a", "--data nope: expected a folder made by"),
        (f"run -i s/pdfs -o out {RUN} --model s/pdfs", "--model s/pdfs: expected the folder of a model"),
        ("plan -i s/pdfs -o out -q q.yaml --model s/pdfs", "--model s/pdfs: expected the folder of a model"),
        ("eval --data s --out e.parquet --model s/pdfs", "--model s/pdfs: expected the folder of a model"),
        ("train glimpse --data s --out a --model s/pdfs", "--model s/pdfs: expected the folder of a model"),
        ("run -i s/pdfs -o out -q nope", "nope: cannot be read: [Errno 2]"),
        ("plan -i s/pdfs -o out -q s", "s: cannot be read: [Errno 21]"),
        ("questions check nope", "nope: cannot be read: [Errno 2]"),
        ("questions check s", "s: cannot be read: [Errno 21]"),
        ("run -i s/pdfs -o out -q q.yaml --config nope", "--config nope: [Errno 2]"),
        ("run -i s/pdfs -o out -q q.yaml --config s", "--config s: [Errno 21]"),
        ("run -i s/pdfs -o out -q q.yaml --seed -1", "--seed: "),
        ("run -i s/pdfs -o out -q q.yaml --deadline inf", "--deadline: "),
        ("run -i s/pdfs -o out -q q.yaml --deadline 0.5", "--deadline: Input should be greater than or equal to 1, f"),
        ("run -i s/pdfs -o out -q q.yaml --detach", "--detach has no effect without --address; name the cluster, or"),
        ("samples --out z --family odd", "--family odd: expected one of known, "),
    ],
)
def test_point_19_an_input_that_cannot_be_read(refused: Any, command: str, reason: str) -> None:
    assert refused(command).startswith(reason)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("run --bogus", "no such option: --bogus (Possible options: --verbose) (try 'docpipe run --help')"),
        ("run -Z", "no such option: -Z (try 'docpipe run --help')"),
        ("nope", "no such command 'nope' (try 'docpipe --help')"),
        ("questions nope", "no such command 'nope' (try 'docpipe questions --help')"),
        ("samples", "missing option '--out' (try 'docpipe samples --help')"),
        ("train glimpse --out x", "missing option '--data' (try 'docpipe train glimpse --help')"),
        ("status", "missing argument 'job' (try 'docpipe status --help')"),
        ("run --dpi", "option '--dpi' requires an argument"),
        ("run --quiet=3", "option '--quiet' does not take a value"),
        ("run", "--input is required; --questions is required, or --schema in its place; --output is required"),
        ("eval --dpi 5 --threshold 2 --data s --out e.parquet", None),
        ("run extra", "got unexpected extra argument(s) (extra) (try 'docpipe run --help')"),
        (
            "run -i a b",
            "got unexpected extra argument(s) (b); --input goes before each file or folder, and a pattern needs "
            "quotes, or the shell spells it out (try 'docpipe run --help')",
        ),
        ("plan --input=a b", None),
        (
            "run --dpi x --dpi 1e9",
            "invalid value for '--dpi': Input should be a valid integer, found '1e9' (try 'docpipe run --help')",
        ),
        (
            "eval --max-ratio=much --data s --out o",
            "invalid value for '--max-ratio': Input should be a valid number, found 'much' (try 'docpipe eval --help')",
        ),
        ("samples --out x --documents 0", None),
        ("run --\x1b[31m\udcfc", None),
    ],
)
def test_point_19_a_command_line_that_cannot_be_read(refused: Any, command: str, line: str | None) -> None:
    said = refused(command)
    assert line is None or said == line
    assert said.isprintable()


def test_point_19_a_usage_error_of_the_console_script_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["docpipe", "run", "--bogus"])
    monkeypatch.setattr("os._exit", sys.exit)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capfd.readouterr().err.splitlines() == [
        "docpipe: no such option: --bogus (Possible options: --verbose) (try 'docpipe run --help')"
    ]


@pytest.mark.parametrize("words", [[], ["train"], ["questions"]])
def test_point_19_a_group_without_a_command_prints_its_help(words: list[str]) -> None:
    outcome = CliRunner().invoke(app, words)
    assert (outcome.exit_code, outcome.stderr) == (2, "")
    assert "Commands" in outcome.stdout


@pytest.mark.parametrize("flag", ["--input", "--questions", "--output"])
def test_an_empty_name_is_refused(refused: Any, flag: str) -> None:
    others = [word for name in ("--input", "--questions", "--output") if name != flag for word in (name, "s")]
    assert refused("run", *others, flag, "").startswith(f"{flag} is empty")


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("more", [[], ["--address", "http://head:8265"]])
def test_point_19_an_output_inside_the_input(refused: Any, command: str, more: list[str]) -> None:
    arguments = more if command == "run" else []
    for output in ("s", "s/pdfs/../answers"):
        line = refused(command, "-i", "s", "-q", "q.yaml", "-o", output, *arguments)
        assert "so a run would look for documents in its own output" in line
    assert not (Path("s") / ".docpipe.lock").exists()
