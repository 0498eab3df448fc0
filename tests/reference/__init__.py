"""Slow twins: the same numbers from textbook formulas, in mpmath, NumPy and SciPy."""
