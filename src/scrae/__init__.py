"""Clusters and latent spaces of single cells from raw counts, without labels (scRAE)."""

from __future__ import annotations

__version__ = "0.1.0"
