"""Finds the passwords of encrypted documents, by a file that says where each lies."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from pipeline.errors import QuestionsError, UsageError
from pipeline.file_names import local_input
from pipeline.globs import compile_glob
from pipeline.questions.yaml_text import MOST_BYTES, YamlText, decode, read_yaml

_EXAMPLE = 'expected lines such as `"contracts/*.pdf": {env: CONTRACTS_PASSWORD}` or `{file: secrets/contracts}`'


class PasswordPlace(BaseModel):
    """Says where a password lies: in an environment variable or in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> PasswordPlace:
        if (self.env is None) == (self.file is None):
            raise ValueError("expected either env or file")
        return self


class PasswordPlaces(BaseModel):
    """Says where all passwords of a run lie, without holding any.

    Attributes:
        source: name of the password file, for messages.
        by_glob: places by the glob over paths below ``--input``, in the order of the file; paths are absolute.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str
    by_glob: dict[str, PasswordPlace]


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


def read_places(given: str) -> PasswordPlaces:
    """Read a password file, and none of the passwords that it points to.

    Args:
        given: path of a YAML file that maps globs over document paths to ``{env: NAME}`` or ``{file: PATH}``, with
            paths relative to its folder.

    Raises:
        UsageError: the file is missing or malformed.
    """
    path = local_input(given)
    if path is None:
        raise UsageError(f"--password-file {given}: expected a file of this machine")
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(f"--password-file {given}: is larger than {MOST_BYTES // 10**6} MB; {_EXAMPLE}")
        content = read_yaml(decode(data, given), given)
    except (OSError, QuestionsError) as error:
        raise UsageError(f"--password-file {given}: {_EXAMPLE}; found: {error}") from error
    try:
        places = TypeAdapter(dict[str, PasswordPlace]).validate_python(content.value)
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong(content, (str(part) for part in first["loc"]), first["msg"]) from error
    for glob in places:
        try:
            compile_glob(glob)
        except ValueError as error:
            raise _wrong(content, [glob], str(error)) from error
    folder = os.path.dirname(os.path.abspath(path))
    whole = {g: p if p.file is None else PasswordPlace(file=os.path.join(folder, p.file)) for g, p in places.items()}
    return PasswordPlaces(source=given, by_glob=whole)


def look_up(places: PasswordPlaces) -> Passwords:
    """Read the passwords themselves.

    Args:
        places: where they lie, on this machine.

    Raises:
        UsageError: a variable or a file is missing or malformed.
    """
    return Passwords(tuple((glob, _password(places.source, glob, place)) for glob, place in places.by_glob.items()))


def read_passwords(given: str | None) -> Passwords:
    """Read a password file and the passwords that it points to.

    Args:
        given: path of the file, see :func:`read_places`; ``None`` for no passwords.

    Raises:
        UsageError: the file, a variable or a file it names is missing or malformed.
    """
    return Passwords() if given is None else look_up(read_places(given))


def _wrong(content: YamlText, place: Iterable[str], reason: str) -> UsageError:
    return UsageError(f"--password-file {content.problem(tuple(place), reason)}; {_EXAMPLE}")


def _password(source: str, glob: str, place: PasswordPlace) -> str:
    if place.env is not None:
        if place.env not in os.environ:
            raise UsageError(
                f"--password-file {source}: {glob}: the environment variable {place.env} is not set; set it, for a "
                "cluster where Ray is started on its head"
            )
        return os.environ[place.env]
    try:
        with open(str(place.file), encoding="utf-8") as file:
            return file.read(MOST_BYTES).rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"--password-file {source}: {glob}: {place.file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:  # whose own words may show the password
        raise UsageError(
            f"--password-file {source}: {glob}: {place.file} is not UTF-8 text; save it as such"
        ) from error
