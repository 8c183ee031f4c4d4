"""Ends a command line that cannot be read with one line, as any other error of a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from typer.core import TyperGroup
from typer.exceptions import TyperException

from jobs.exit_codes import as_exit_code
from jobs.log import Log


class OneLineErrors(TyperGroup):
    """Groups commands, and says in one line how a command ended, or which option or argument of theirs is wrong."""

    _log = Log()

    def make_context(self, *given: Any, **extra: Any) -> Any:
        """Read the words before the command; Typer itself would say nothing of an interruption."""
        with as_exit_code() as ending:
            ending.log = self._log
            return super().make_context(*given, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the words of the command, and run it; whatever is expected to end it becomes an exit code here."""
        with as_exit_code() as ending:
            ending.log = self._log
            return super().invoke(ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command and exit; Typer itself would draw a box around an error.

        Args:
            args: words of the command line; ``None`` for those of this process.
            prog_name: first word of the command line; ``None`` finds it out.
            complete_var: as in the method that this one replaces.
            standalone_mode: without effect, since a command always ends the process.
            windows_expand_args: as in the method that this one replaces.
            **extra: as in the method that this one replaces.

        Raises:
            SystemExit: carries the exit code.
        """
        words = sys.argv[1:] if args is None else args
        self._log = Log("json" if _value(words, ("--log-format",)) == "json" else "text")
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except TyperException as error:
            if error.format_message():  # without a command, the help was printed instead
                self._log.say(_sentence(error, words), "failed", "error", exit_code=error.exit_code)
            sys.exit(error.exit_code)
        sys.exit(code or 0)


def _sentence(error: TyperException, words: Sequence[str]) -> str:
    from pipeline.file_names import printable

    reason = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    expected, unread, _ = reason.partition(", unable to parse string")
    if unread:
        reason = f"{expected}, found {_value(words, getattr(getattr(error, 'param', None), 'opts', ()))!r}"
    elif "unexpected extra argument" in reason and _is_given(words, ("-i", "--input")):
        reason += "; --input goes before each file or folder, and a pattern needs quotes, or the shell spells it out"
    reason = printable(reason)
    hint = "" if context is None else f" (try '{context.command_path} --help')"
    return f"docpipe: {reason[:1].lower()}{reason[1:]}{hint}"


def _is_given(words: Sequence[str], names: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in names for word in words)


def _value(words: Sequence[str], names: Sequence[str]) -> str:
    """Find the value of an option among the words of a command line; of several, the last one counts."""
    found = ""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else following
    return found
