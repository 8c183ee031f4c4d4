"""Makes the runtime environment of a submission, which installs docpipe from a wheel: nodes need nothing but Ray."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.file_names import printable

CONSTRAINTS = "constraints.txt"
_GIVEN = re.compile(r"(?P<path>.+\.whl)(?P<extras>\[[\w, -]+\])?")
_NODE_FOLDER = "${RAY_RUNTIME_ENV_CREATE_WORKING_DIR}"  # where a node unpacks what travels; pip replaces it


def runtime_env(given: str, folder: Path) -> dict[str, Any]:
    """Copy a wheel and its pinned list to a folder, and describe how a node installs them.

    Ray uploads the folder, and each node makes one environment of it; both are kept by content, so that later runs find
    them. A new wheel under an old name is another environment, since its path holds its hash.

    Args:
        given: path of a wheel that ``make wheel`` built, with extras behind it as for pip: ``docpipe.whl[s3]``.
        folder: empty folder, which has to last until the submission is sent.

    Returns:
        The fields ``working_dir`` and ``pip`` of a runtime environment of Ray.

    Raises:
        UsageError: the wheel is not there, or its pinned list is not beside it.
    """
    found = _GIVEN.fullmatch(given)
    wheel = Path(found["path"] if found else given).expanduser()
    pinned = wheel.parent / CONSTRAINTS
    if found is None or not wheel.is_file():
        raise UsageError(
            f"--wheel {printable(given)}: expected a wheel that `make wheel` built, such as dist/glimpse_docpipe-0.1.0-"
            "py3-none-any.whl, with or without extras behind it, such as [s3]"
        )
    if not pinned.is_file():
        raise UsageError(
            f"--wheel {printable(given)}: expected {CONSTRAINTS} beside it, found none; `make wheel` puts it there"
        )
    digest = hashlib.sha256(wheel.read_bytes() + pinned.read_bytes()).hexdigest()[:16]
    (folder / digest).mkdir()
    for file in (wheel, pinned):
        shutil.copyfile(file, folder / digest / file.name)
    there = f"{_NODE_FOLDER}/{digest}"
    packages = [f"--constraint {there}/{CONSTRAINTS}", f"{there}/{wheel.name}{found['extras'] or ''}"]
    return {"working_dir": str(folder), "pip": {"packages": packages, "pip_check": False}}
