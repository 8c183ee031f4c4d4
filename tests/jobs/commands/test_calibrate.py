"""``docpipe calibrate`` asks what is known, and writes what ``docpipe eval`` and ``docpipe run`` find."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.commands import calibrate as command
from pipeline.answering.checkpoints import fingerprint
from pipeline.confidence.calibration import parse_calibration
from pipeline.evaluation import fit_calibration as fitting
from pipeline.samples.document import Family
from pipeline.samples.write import write_samples
from tests.support.tiny_model import make_tiny_addon


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_samples(tmp_path / "data", [1, 2], Family(min_fields=8, max_fields=8, size_pt=(300, 300)))
    return tmp_path / "data"


def call(*words: str | Path) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, ["calibrate", *map(str, words)])
    return outcome.exit_code, outcome.output


def test_it_is_written_beside_the_add_on_and_found_by_eval(
    tiny_base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addon = make_tiny_addon(tmp_path / "addon")
    before = fingerprint(addon)
    monkeypatch.setattr(fitting, "FEWEST", 10)
    monkeypatch.setattr(fitting, "FEWEST_OF_A_KIND", 0)
    seen: list[str] = []

    def half_right(answer: str, *_: object) -> bool:
        """What the tiny model says is never right; to fit, some has to be."""
        seen.append(answer)
        return len(seen) % 2 == 0

    monkeypatch.setattr(fitting, "value_equal", half_right)
    words: tuple[str | Path, ...] = ("--model", tiny_base, "--glimpse", addon, "--device", "cpu", "--quiet")
    words += ("--max-visual-tokens", "40", "--max-new-tokens", "4")
    assert call("--data", data, "--data", data, *words) == (0, "")
    made = parse_calibration((addon / "calibration.json").read_bytes(), "c.json")
    on = made.fitted_on
    assert (on.model_fingerprint, on.glimpse_fingerprint) == (fingerprint(tiny_base), before)
    assert (on.modes, on.dtype, [one.name for one in on.data]) == (("off", "glimpse"), "float32", ["data", "data"])
    assert [one.answers for one in on.data] == [40, 40]
    out = tmp_path / "eval.parquet"
    told = CliRunner().invoke(app, ["eval", "--data", str(data), "--out", str(out), *map(str, words)])
    assert told.exit_code == 0, told.output
    ranked = [line.split()[1] for line in told.output.split("\n\n")[1].splitlines()[1:]]
    assert ranked == ["confidence", "confidence", "confidence_raw"]  # random keeps what no calibration was fitted on
    (addon / "calibration.json").unlink()
    told = CliRunner().invoke(app, ["eval", "--data", str(data), "--out", str(out), "--by-question", *map(str, words)])
    assert "confidence_raw" in told.output
    assert len(told.output.split("\n\n")) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--out is needed, since nano is not a folder that a calibration could be written to"),
        (("--out", "c.json", "--data", "gone"), "--data gone: expected a folder made by"),
        (("--out", "data/c.json", "--pages", "1"), "expected at least 200 answers"),
        (("--out", "c.json", "--pages", "0"), "--pages: "),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    data: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(data.parent)
    code, output = call("--data", "data", *words, "--device", "cpu", "--quiet")
    assert code == 2
    assert output.startswith("docpipe: ")
    assert said in output
    assert len(output.splitlines()) == 1
    assert not Path("c.json").exists()


def test_without_scikit_learn_nothing_is_asked(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "find_spec", lambda _: None)
    monkeypatch.delattr(command, "LoadedAnswerer")
    code, output = call("--data", data, "--out", data / "c.json")
    assert (code, output) == (2, f"docpipe: docpipe calibrate needs scikit-learn; {INSTALL}\n")


INSTALL = "install the extra: pip install -e '.[calibrate]'"


def test_the_calibration_in_the_package_is_of_the_model_in_the_package() -> None:
    from pipeline.answering.checkpoints import resolve_addon, resolve_model

    made = parse_calibration(Path(resolve_addon("nano"), "calibration.json").read_bytes(), "calibration.json")
    on = made.fitted_on
    assert (on.model, on.model_fingerprint) == ("nano", fingerprint(resolve_model("nano")))
    assert (on.glimpse, on.glimpse_fingerprint) == ("nano", fingerprint(resolve_addon("nano")))
    assert on.modes == ("off", "glimpse")
    assert sum(one.answers for one in on.data) >= 2000
    assert json.loads(made.to_json())["format"] == "docpipe-calibration"
