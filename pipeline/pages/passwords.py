"""Finds the passwords of encrypted documents, by a file that says where each lies."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from pipeline.errors import UsageError
from pipeline.globs import compile_glob

_EXAMPLE = 'expected lines such as `"contracts/*.pdf": {env: CONTRACTS_PASSWORD}` or `{file: secrets/contracts}`'


class _Place(BaseModel):
    """Says where a password lies: in an environment variable or in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> _Place:
        if (self.env is None) == (self.file is None):
            raise ValueError("expected either env or file")
        return self


@dataclass(frozen=True, slots=True)
class Passwords:
    """Holds passwords by the documents that they open; printing it does not show them.

    Attributes:
        by_glob: pairs of a glob over paths below ``--input`` and a password, in the order of the file.
    """

    by_glob: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def of(self, path: str) -> list[str]:
        """List the passwords to try on a document, by its path below ``--input``."""
        return [password for glob, password in self.by_glob if compile_glob(glob).fullmatch(path)]


def read_passwords(path: str | None) -> Passwords:
    """Read a password file and the passwords that it points to.

    Args:
        path: YAML file that maps globs over document paths to ``{env: NAME}`` or ``{file: PATH}``, with paths relative
            to its folder; ``None`` for no passwords.

    Raises:
        UsageError: the file, a variable or a file it names is missing or malformed.
    """
    if path is None:
        return Passwords()
    try:
        raw: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        places = TypeAdapter(dict[str, _Place]).validate_python(raw)
    except (OSError, UnicodeError, yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"--password-file {path}: {_EXAMPLE}; found: {_first_line(error)}") from error
    return Passwords(tuple((glob, _look_up(path, glob, place)) for glob, place in places.items()))


def _look_up(path: str, glob: str, place: _Place) -> str:
    if place.env is not None:
        if place.env not in os.environ:
            raise UsageError(f"--password-file {path}: {glob}: the environment variable {place.env} is not set; set it")
        return os.environ[place.env]
    secret = Path(path).parent / str(place.file)
    try:
        return secret.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--password-file {path}: {glob}: {secret} cannot be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
