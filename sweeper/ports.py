"""Explains why a port of this machine cannot be opened."""

from __future__ import annotations

import errno


def port_problem(host: str, port: int, error: OSError) -> str:
    """Return why a port cannot be opened, and the way out."""
    why = "somebody listens there already" if error.errno == errno.EADDRINUSE else str(error.strerror).lower()
    return f"port {port} of {host} cannot be had: {why}. Name another one, or leave the option out for any free one."
