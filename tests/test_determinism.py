"""The same seed gives the same bits in another process, whatever Python's hash seed; ``make test-long`` has more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "long" / "determinism.py"


def test_the_hash_seed_does_not_matter():
    command = [sys.executable, str(SCRIPT), "--cells", "120", "--hash-seeds", "0", "1", "--threads"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"cells": 120, "hash seeds": [0, 1]}
