"""Reads the text of a file that says what is asked."""

from __future__ import annotations

from fsspec.implementations.local import LocalFileSystem

from pipeline.addresses import as_os_errors, open_address
from pipeline.errors import QuestionsError, UsageError
from pipeline.file_names import without_password, without_secrets
from pipeline.questions.yaml_text import MOST_BYTES, decode


def read_text(uri: str, what: str) -> str:
    """Read a file from a path or an fsspec URI.

    Args:
        uri: path or URI.
        what: what the file should be, such as ``a YAML file with questions``.

    Raises:
        QuestionsError: the file cannot be read, is too large or holds no text.
    """
    shown = without_password(uri)
    try:
        with as_os_errors():
            fs, path = open_address(uri)
            # The library looks for the size of a local file, which a pipe such as <(...) has not.
            with open(path, "rb") if isinstance(fs, LocalFileSystem) else fs.open(path, "rb") as file:
                data = file.read(MOST_BYTES + 1)
    except (UsageError, OSError, ValueError, ImportError) as error:
        reason = without_secrets(str(error), uri)
        raise QuestionsError(f"{shown}: cannot be read: {reason}; name {what}") from error
    if len(data) > MOST_BYTES:
        raise QuestionsError(f"{shown}: is larger than {MOST_BYTES // 10**6} MB, so it is not {what}; split it")
    return decode(data, shown)
