"""`python -m benchmarks`."""

from benchmarks.cli import app

if __name__ == "__main__":  # the child processes import this module under another name
    app(prog_name="python -m benchmarks")
