"""The built wheel holds the whole package and nothing else: ``python tests/check_wheel.py dist``."""

import sys
import zipfile
from pathlib import Path

root = Path(__file__).parent.parent
(wheel,) = Path(sys.argv[1]).glob("*.whl")
held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
files = (p for p in (root / "src" / "scrae").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
wanted = {p.relative_to(root / "src").as_posix() for p in files}
if held != wanted:
    sys.exit(f"{wheel.name}: missing {sorted(wanted - held)}, too many {sorted(held - wanted)}")
print(f"{wheel.name}: {len(held)} files, complete")
