"""The commands of the README run on checkpoints in the layouts of the real releases, with only the paths changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.cli.main import app
from pipeline.datasets.visual_cot_benchmark import ASKS_FOR_BOX
from pipeline.samples import Family
from pipeline.samples.write import write_samples
from tests.support.markdown import ROOT, commands
from tests.support.releases import RELEASES, make_3b_as_first_released, make_published_addon

README, REPRODUCE = ROOT / "README.md", ROOT / "docs/reproduce.md"
SMALL = Family(min_fields=3, max_fields=3, size_pt=(224.0, 224.0), table=0.0, free_text=0.0)


def readme_command() -> list[str]:
    """The README's command for real weights."""
    (found,) = re.findall(r"docpipe (run [^`]*?--model Qwen/[^`]*?)\n```", README.read_text())
    return str(found).replace("\\\n", " ").split()


def docpipe(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "samples"
    write_samples(folder, [1], SMALL, keys=("total",))
    return folder


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_published_addon(tmp_path_factory.mktemp("addon") / "GlimpsePrune_Qwen2.5-VL-7B-Instruct")


def answers(base: Path, addon: Path, data: Path, out: Path) -> list[dict[str, object]]:
    """The answers of README's own command on another model, add-on and folders."""
    changed = {
        "pdfs/": data / "pdfs",
        "q.yaml": data / "questions.yaml",
        "answers/": out,
        "Qwen/Qwen2.5-VL-7B-Instruct": base,
        "ashun989/GlimpsePrune_Qwen2.5-VL-7B-Instruct": addon,
    }
    command = readme_command()
    assert set(changed) <= set(command)
    docpipe(*(changed.get(word, word) for word in command))
    columns = ["question_id", "answer", "confidence_raw", "kept_tokens", "visual_tokens"]
    return [
        row
        for file in sorted((out / "answers").glob("*.parquet"))
        for row in pq.read_table(file, columns=columns).to_pylist()
    ]


@pytest.mark.parametrize("size", ["3B", "7B"])
def test_readmes_command_answers_with_a_released_checkpoint(size: str, data: Path, addon: Path, tmp_path: Path) -> None:
    """In both layouts, whose weights are the same by whatever names, with the same answers."""
    today = RELEASES[f"{size} as saved today"](tmp_path / "today")
    base = RELEASES[f"{size} as first released"](tmp_path / "base")
    folders = ("--input", data / "pdfs", "--questions", data / "questions.yaml", "--output", tmp_path / "out")
    plan = docpipe("plan", *folders, "--model", base, "--glimpse", addon)
    stored = sum(file.stat().st_size for file in base.glob("*.safetensors")) / 1e9
    gpu, cpu = map(float, re.findall(r"(\S+) GB of weights", plan))
    assert (gpu, cpu) == (pytest.approx(stored, abs=0.001), pytest.approx(2 * stored, abs=0.002))
    rows = answers(base, addon, data, tmp_path / "out")
    assert rows
    assert all(0 < row["kept_tokens"] <= row["visual_tokens"] for row in rows)  # type: ignore[operator]
    assert rows == answers(today, addon, data, tmp_path / "again")


def test_doctor_measures_with_a_released_checkpoint(
    addon: Path, tmp_path: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "golden numbers   ok on cpu" in docpipe("doctor", "--device", "cpu")
    base = RELEASES["3B as saved today"](tmp_path / "base")
    told = docpipe("doctor", "--tune", "--model", base, "--glimpse", addon)
    assert Path(told.split("written to ")[1].strip()).is_file()


def test_the_published_evaluation_runs(addon: Path, tmp_path: Path) -> None:
    """The command for its first data set, on one question in the layout of its file."""
    command, *_ = (words for words in commands(REPRODUCE, "docpipe") if words[0] == "eval")
    (tmp_path / "datas" / "cot" / "docvqa").mkdir(parents=True)
    Image.effect_noise((224, 280), 90).convert("RGB").save(tmp_path / "datas" / "cot" / "docvqa" / "a.png")
    turns = (f"<image>\nWho is it? {ASKS_FOR_BOX}", "[0.1, 0.1, 0.2, 0.2]", "<image>", "Nobody")
    row = {
        "question_id": 0,
        "image": ["cot/docvqa/a.png", "cot/docvqa/a.png###[1, 2, 30, 40]"],
        "conversations": [{"value": turn} for turn in turns],
    }
    (tmp_path / "docvqa.json").write_text(json.dumps([row]))
    changed = {
        "viscot_benchmark/benchmark/docvqa.json": tmp_path / "docvqa.json",
        "datas/": tmp_path / "datas",
        "docvqa.parquet": tmp_path / "docvqa.parquet",
        "Qwen/Qwen2.5-VL-7B-Instruct": RELEASES["7B as first released"](tmp_path / "base"),
        "ashun989/GlimpsePrune_Qwen2.5-VL-7B-Instruct": addon,
    }
    assert set(changed) <= set(command)
    docpipe(*(changed.get(word, word) for word in command), "--max-new-tokens", "4", "--quiet")
    off, glimpse = pq.read_table(tmp_path / "docvqa.parquet").to_pylist()
    assert (off["mode"], off["question"], off["visual_tokens"], off["kept_tokens"]) == ("off", "Who is it?", 80, 80)
    assert 0 < glimpse["kept_tokens"] <= 0.111 * 80


def test_a_released_checkpoint_is_measured(data: Path, addon: Path, tmp_path: Path) -> None:
    base = make_3b_as_first_released(tmp_path / "base")
    printed = docpipe("eval", "--data", data, "--out", tmp_path / "scores.parquet", "--model", base, "--glimpse", addon,
                      "--compare", "off,glimpse", "--max-new-tokens", "4", "--quiet")  # fmt: skip
    assert re.search(r"(?m)^off +\d+ +0\.0", printed)
    assert re.search(r"(?m)^glimpse +\d+ +0\.0", printed)
    assert pq.read_table(tmp_path / "scores.parquet").num_rows > 0
