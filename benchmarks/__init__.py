"""Protocols, peers and records of scrae; beside the package, not shipped with it."""
