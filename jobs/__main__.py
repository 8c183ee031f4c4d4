"""Runs the ``docpipe`` command as ``python -m jobs``."""

from jobs.cli.main import main

if __name__ == "__main__":
    main()
