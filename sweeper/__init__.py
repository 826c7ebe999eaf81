"""Durable sweeps over networks that trade breadth, depth and time: Ray Tune places, Optuna keeps, MLflow shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.results.loaded_sweep import LoadedSweep

__all__ = ["load_sweep"]


def load_sweep(name: str, tracking_uri: str | None = None, home: str | Path = "sweeps") -> LoadedSweep:
    """Return a stored sweep: its fronts, points and trials as Arrow tables, from MLflow alone.

    Nothing is written, and nothing is read before it is asked for.

    Args:
        name: Name of the sweep.
        tracking_uri: Where MLflow is, such as `http://mlflow.example:5000` or `sqlite:///mlflow.db`. None: where the
            sweep was last mirrored, as its home says, or a database in the home.
        home: Folder that holds sweeps; of no account where a tracking URI is named.

    Raises:
        TrackingError: If the sweep was mirrored to an address with a password, which is not kept.
        HomeError: If the home has a path that database addresses cannot hold.

    Example:
        >>> load_sweep("first").front("digits-10", where=["accuracy >= 0.9"]).to_pandas()  # doctest: +SKIP
    """
    # Imported here: whoever imports sweeper for something else needs neither tables nor MLflow.
    from sweeper.ledger.home import Home
    from sweeper.results.loaded_sweep import load

    return load(name, Home(Path(home)).tracking_uri_of(name, tracking_uri))
