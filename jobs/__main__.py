"""Runs the ``docpipe`` command, also as ``python -m jobs``; Ctrl-C ends it with a word from its first moment on."""

import os
import sys


def main() -> None:
    """Import the command line, and run it; the import takes long enough to be interrupted."""
    try:
        from jobs.cli.main import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.stderr.flush()
        os._exit(130)  # what was begun to be imported is not worth taking apart


if __name__ == "__main__":
    main()
