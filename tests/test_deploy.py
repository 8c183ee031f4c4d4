"""What lies in deploy/ is what systemd, cron, Kubernetes and Ray take, and names commands that are there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import typer
import yaml

from jobs.cli.main import app
from jobs.exit_codes import DONE, ENGINE, INTERRUPTED, TOO_MANY_FAILED, USAGE
from jobs.settings import load_night
from pipeline.output.drift import Thresholds
from tests.support.markdown import ROOT

DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
SCHEMA = json.loads((ROOT / "tests/support/kuberay_schema.json").read_text())
DOCPIPE: Any = typer.main.get_command(app)
KUBERAY = sorted((DEPLOY / "kuberay").glob("*.yaml"))


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return loaded


def parse(words: list[str]) -> None:
    """Parse a command line as ``docpipe`` would."""
    assert Path(words[0]).name == "docpipe"
    DOCPIPE.commands[words[1]].make_context(words[1], words[2:])


def parts(value: Any, key: str) -> Iterator[Any]:
    """Every value of a key, at any depth."""
    if isinstance(value, dict):
        yield from (value[key],) if key in value else ()
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from parts(each, key)


def test_every_file_is_checked() -> None:
    files = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert files == {
        "docpipe-nightly.cron",
        "grafana/docpipe.json",  # by tests/jobs/run/test_metrics.py
        "job.toml",
        "kuberay/cronjob.yaml",
        "kuberay/raycluster.yaml",
        "kuberay/rayjob.yaml",
        "ray-cluster.yaml",
        "systemd/docpipe-nightly.service",
        "systemd/docpipe-nightly.timer",
    }
    assert files <= {name.removeprefix("deploy/") for name in re.findall(r"deploy/[\w./-]+", cluster_page())}


def cluster_page() -> str:
    return (ROOT / "docs/cluster.md").read_text()


def test_the_job_file_holds_settings_and_the_default_thresholds() -> None:
    settings, thresholds = load_night(DEPLOY / "job.toml")
    assert settings.output == "s3://bucket/answers/"
    assert thresholds == Thresholds()
    text = (DEPLOY / "job.toml").read_text()
    assert {name.replace("_", "-") for name in Thresholds.model_fields} == set(
        re.findall(r"^([\w-]+) =", text.partition("[nightly]")[2], re.MULTILINE)
    )
    (address,) = re.findall(r'^# (address = ".*?") ', text, re.MULTILINE)
    assert address == 'address = "http://docpipe-head-svc:8265"'


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", ["docpipe-nightly.service", "docpipe-nightly.timer"])
def test_systemd_takes_the_units(unit: str, tmp_path: Path) -> None:
    for path in UNITS.iterdir():  # the command is not installed here
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/docpipe/.venv/bin/docpipe", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "docpipe" in line]
    assert (done.returncode, ours) == (0, [])
    (tmp_path / "docpipe-nightly.service").write_text("[Service]\nType=oneshot\nExecStrat=/bin/true\n")
    broken = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "docpipe-nightly.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ExecStrat" in broken.stderr


def test_the_service_repeats_what_the_same_command_can_mend() -> None:
    lines = dict(
        line.split("=", 1) for line in (UNITS / "docpipe-nightly.service").read_text().splitlines() if "=" in line
    )
    parse(shlex.split(lines["ExecStart"]))
    assert {int(code) for code in lines["RestartPreventExitStatus"].split()} == {TOO_MANY_FAILED, USAGE, INTERRUPTED}
    assert ENGINE not in (DONE, TOO_MANY_FAILED, USAGE, INTERRUPTED)
    assert set(lines["RestrictNamespaces"].split()) == {"user", "net", "mnt"}  # what the renderer enters


def test_cron_takes_the_line() -> None:
    lines = (DEPLOY / "docpipe-nightly.cron").read_text().splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#") and "=" not in line.split()[0]]
    minute, hour, *days, user, command = line.split(None, 6)
    assert (int(minute) < 60, int(hour) < 24, days) == (True, True, ["*", "*", "*"])
    assert re.fullmatch(r"[a-z_][a-z0-9_-]*", user)
    assert "%" not in command  # which cron takes for a line end
    parse(shlex.split(command))


def test_ray_takes_the_cluster() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = manifest("ray-cluster.yaml")
    validate_config(prepare_config(cluster))
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        validate_config(prepare_config({**cluster, "max_wrokers": 3}))


@pytest.mark.parametrize("path", [path for path in KUBERAY if path.name != "cronjob.yaml"], ids=lambda path: path.name)
def test_kuberay_takes_the_manifest(path: Path) -> None:
    loaded = manifest(f"kuberay/{path.name}")
    jsonschema.Draft202012Validator(SCHEMA).validate(loaded)
    templates = list(parts(loaded, "template"))
    assert len(templates) == 2
    for template in templates:
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
        kubernetes_validate.validate(pod, "1.30", strict=True)
    for sound, broken in (("rayStartParams", "rayStartParms"), ("replicas: 4", "replicas: four")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate(yaml.safe_load(path.read_text().replace(sound, broken)))


def test_kubernetes_takes_the_cron_job() -> None:
    job = manifest("kuberay/cronjob.yaml")
    kubernetes_validate.validate(job, "1.30", strict=True)
    (command,) = parts(job, "command")
    parse(command)
    (values,) = parts(job, "values")
    assert values == [TOO_MANY_FAILED, USAGE]
    job["spec"]["scheduel"] = job["spec"].pop("schedule")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.30", strict=True)


def test_the_manifests_fit_each_other_and_the_installed_ray() -> None:
    versions = {version for path in KUBERAY for version in parts(yaml.safe_load(path.read_text()), "rayVersion")}
    assert versions == {ray.__version__}
    entrypoint = manifest("kuberay/rayjob.yaml")["spec"]["entrypoint"]
    assert entrypoint.startswith("env -u RAY_ADDRESS docpipe ")
    parse(shlex.split(entrypoint.removeprefix("env -u RAY_ADDRESS ")))
    images = {image for path in KUBERAY for image in parts(yaml.safe_load(path.read_text()), "image")}
    assert len(images) == 1
    name = manifest("kuberay/raycluster.yaml")["metadata"]["name"]
    assert f"http://{name}-head-svc:8265" in (DEPLOY / "job.toml").read_text()
