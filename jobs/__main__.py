"""``python -m jobs`` is the ``docpipe`` command."""

from jobs.cli.main import main

if __name__ == "__main__":
    main()
