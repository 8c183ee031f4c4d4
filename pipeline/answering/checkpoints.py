"""Finds models and add-ons by name, and fingerprints their content. No torch is imported here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from glimpseprune.errors import AddonError
from glimpseprune.methods.glimpse.addon_config import BaseShape
from glimpseprune.methods.glimpse.addon_file import read_addon_config
from glimpseprune.rule import KeepRule
from pipeline.confidence.calibration import CALIBRATION_FILE
from pipeline.errors import ModelError, UsageError
from pipeline.families.registry import find_family
from pipeline.records import AnswerSettings

NANO = "nano"
_EMBEDDED = Path(__file__).parents[1] / NANO
_SMALL_FILES = ["*.json", "*.jinja", "*.txt"]
_WHOLE_BYTES = 64 << 20  # the fingerprint covers files up to this size whole, larger ones by samples
_SAMPLES, _SAMPLE_BYTES = 64, 64 << 10
_PARTS = ("text_config", "vision_config")
TEXT_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
"""Sizes of a language model, as a configuration names them."""
_DOWNLOAD = "download the checkpoint again, or write what its authors published"


def resolve_model(name: str, revision: str | None = None) -> Path:
    """Find the local folder with a model's configuration and processor.

    For a hub id, only the small files are downloaded.

    Args:
        name: ``nano``, a folder or a hub id.
        revision: branch, tag or commit of a hub id; ``None`` takes its main branch.

    Raises:
        UsageError: the name is neither ``nano``, nor a folder with a ``config.json``, nor a hub id that can be reached;
            or a revision is given for a model that has none.
    """
    if revision is not None and is_local(name):
        raise UsageError(f"--revision {revision} has no effect: --model {name} is not on the hub; leave it out")
    if name == NANO:
        return _embedded("base")
    folder = _folder_or_hub(name, "--model", _SMALL_FILES, revision)
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"--model {name}: expected the folder of a model, with its config.json, found none there; name the folder "
            "that holds the file, or a hub id"
        )
    return folder


def is_local(model: str) -> bool:
    """Tell whether a model is on this machine already: the embedded one, or a folder."""
    return model == NANO or Path(model).expanduser().is_dir()


def resolve_addon(name: str, revision: str | None = None) -> Path:
    """Find the local folder of an add-on; from the hub, all of its files are downloaded.

    Args:
        name: ``nano``, a folder or a hub id.
        revision: branch, tag or commit of a hub id; ``None`` takes its main branch.

    Raises:
        UsageError: the name is neither ``nano``, nor a folder, nor a hub id that can be reached.
    """
    if name == NANO:
        return _embedded("glimpse")
    return _folder_or_hub(name, "--glimpse", [*_SMALL_FILES, "*.pt", "*.safetensors"], revision)


def pinned(name: str | None, content: str | None) -> str | None:
    """Return the commit of a model or add-on of the hub, so that every process of a run loads the same one.

    Args:
        name: ``nano``, a folder or a hub id; ``None`` for no add-on.
        content: its :func:`fingerprint`.

    Returns:
        The commit; ``None`` for what is on this machine.
    """
    return None if name is None or is_local(name) else content


def on_the_hub(settings: AnswerSettings) -> bool:
    """Tell whether a run's model or add-on comes from the hub."""
    return not all(name is None or is_local(name) for name in (settings.model, settings.glimpse))


def fetch(settings: AnswerSettings) -> None:
    """Download all files of a run's model and add-on from the hub, at the commits of its settings.

    Files that are in this machine's cache are left as they are.

    Args:
        settings: settings of the run.

    Raises:
        ModelError: the hub cannot be reached, or lacks a file.
    """
    try:
        commit = pinned(settings.model, settings.model_fingerprint)
        if commit is not None:
            _folder_or_hub(settings.model, "--model", None, commit)
        addon_commit = pinned(settings.glimpse, settings.glimpse_fingerprint)
        if settings.glimpse is not None and addon_commit is not None:
            resolve_addon(settings.glimpse, addon_commit)
    except UsageError as error:
        raise ModelError(str(error)) from error


def default_addon(model: str) -> str | None:
    """Return the add-on that comes with a model: ``nano`` with the embedded model, none with any other."""
    return NANO if model == NANO else None


def default_dpi(model: str) -> int:
    """Return the default resolution of pages, in dpi; the embedded model was trained at 144."""
    return 144 if model == NANO else 200


def default_drop_blank(model: str) -> bool:
    """Return whether blank paper is hidden by default; the embedded model saw half of its pages without."""
    return model == NANO


def default_look_again(model: str) -> float:
    """Return the ``confidence_raw`` below which a page is looked at again by default.

    The embedded model reads small letters by the pixel, so that another look tells a lot.
    """
    return 0.98 if model == NANO else 0.0


def note_on(model: str) -> str | None:
    """Say for whom the embedded model is and what it reads; ``None`` for any other model.

    Args:
        model: ``nano``, a folder or a hub id.
    """
    if model != NANO:
        return None
    return (
        "model nano, embedded in docpipe, is for demonstration: it reads invoices, receipts, orders, delivery notes "
        "and report slips like those of `docpipe samples`; on other pages most of its answers are wrong, so name a "
        "real model with --model"
    )


def addon_rule(folder: Path) -> KeepRule:
    """Read the keep rule that comes with an add-on.

    Args:
        folder: folder of the add-on.

    Raises:
        ModelError: the add-on's configuration cannot be read; the message names the field.
    """
    try:
        return read_addon_config(folder).rule
    except AddonError as error:
        raise ModelError(str(error)) from error


def fingerprint(folder: Path) -> str:
    """Identify the content of a checkpoint folder, by 16 hex digits or its hub commit.

    A snapshot of the hub is already named by its commit. For files larger than 64 MiB, only the size and evenly spaced
    samples count: any retraining changes them, and a 15 GB model is not read twice.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and _counts(p.name)):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_BYTES:
                digest.update(file.read())
                continue
            for i in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def _counts(name: str) -> bool:
    """Tell whether answers depend on a file; a calibration only says how often they are right."""
    return not name.startswith(".") and name != CALIBRATION_FILE


def _embedded(part: str) -> Path:
    folder = _EMBEDDED / part
    if not folder.is_dir():
        raise UsageError(
            "this build of docpipe has no embedded model 'nano'; name a model with --model and its add-on "
            "with --glimpse, each as a hub id (README.md lists some) or a local folder"
        )
    return folder


def _folder_or_hub(name: str, flag: str, patterns: list[str] | None, revision: str | None = None) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    from huggingface_hub import errors, snapshot_download  # a quarter of a second that the embedded model does not need

    failures = (
        errors.HFValidationError,
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        OSError,
    )
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, revision=revision))
    except failures as error:
        raise UsageError(
            f"{flag} {name}: no such folder, and no hub repository of that name can be reached "
            f"({type(error).__name__}); check the spelling and the network, or download it and name the folder"
        ) from error


def check_config(folder: Path) -> None:
    """Refuse a model whose configuration cannot be one, before anything is counted or loaded.

    Args:
        folder: folder of the model.

    Raises:
        ModelError: a part of the configuration is no object, or a size in it is no whole number; the message names the
            field.
    """
    raw = find_family(folder).read_config(folder)
    for part in _PARTS:
        if not isinstance(raw.get(part, {}), dict):
            found = json.dumps(raw[part])
            raise ModelError(f"{folder}/config.json: expected an object as {part}, found {found:.60}; {_DOWNLOAD}")
    text = raw.get("text_config", raw)
    for name in TEXT_SIZES:
        size = text.get(name, 1)  # transformers knows the sizes that a checkpoint leaves out
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            found = json.dumps(size)
            raise ModelError(f"{folder}/config.json: expected a whole number as {name}, found {found:.60}; {_DOWNLOAD}")


def check_fit(model: Path, addon: Path) -> None:
    """Refuse an add-on of another base, by the two configurations alone.

    Args:
        model: folder of the model.
        addon: folder of the add-on.

    Raises:
        ModelError: a field differs or cannot be read; the message names it.
    """
    raw = find_family(model).read_config(model)
    text, vision = raw.get("text_config", raw), raw.get("vision_config", {})
    try:
        shape = BaseShape(
            hidden_size=text["hidden_size"],
            num_hidden_layers=text["num_hidden_layers"],
            num_attention_heads=text["num_attention_heads"],
            vision_hidden_size=vision["hidden_size"],
            vision_depth=vision["depth"],
        )
        read_addon_config(addon).check_base(shape)
    except KeyError as error:
        raise ModelError(f"{model}/config.json: expected field {error}, found none; check the download") from error
    except AddonError as error:
        raise ModelError(str(error)) from error
