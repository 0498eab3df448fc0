"""These tests need a browser; they run where the environment variable SCRAE_BROWSER names a Chromium."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
