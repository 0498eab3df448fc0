"""`python -m benchmarks`."""

from benchmarks.cli import main

if __name__ == "__main__":  # the child processes import this module under another name
    main()
