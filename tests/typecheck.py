"""The checker that the import hook of ``conftest.py`` puts on every function of scrae."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# Where a float is asked for, a whole number is fine, as for any static type checker.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
