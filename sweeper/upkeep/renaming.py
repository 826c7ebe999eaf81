"""Renames a sweep: its files in a storage, its ledger, its folder, and in MLflow, in this order.

Keys of trials do not contain the name, so they stay. The folder notes the renaming, and it has one of the two names at
any time, so an interrupted renaming can be found and continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from sweeper import storage
from sweeper.credentials import redacted
from sweeper.errors import HomeError, SweepBusyError
from sweeper.ledger.home import Home, SweepFolder, this_driver
from sweeper.ledger.kept_places import is_reserved
from sweeper.ledger.open import refuse_stranger
from sweeper.ledger.standing import standing_of
from sweeper.tracking.mlflow.removal import held
from sweeper.tracking.mlflow.renaming import refuse_taken
from sweeper.tracking.mlflow.renaming import rename as rename_in_mlflow
from sweeper.upkeep.removing import not_its_own, with_noted_files


@dataclass(frozen=True)
class _Plan:
    """The part of a renaming outside of the folder, which notes it.

    Attributes:
        experiments: Ids of the sweep's experiments in MLflow.
        files, new_files: Old and new location of checkpoints and networks; the same if they are in the folder.
    """

    experiments: Sequence[str]
    files: str
    new_files: str


def rename(home: Home, name: str, new_name: str, tracking_uri: str | None = None) -> bool:
    """Rename a sweep, or continue an interrupted renaming.

    Args:
        home: The sweep's home.
        name: Its name.
        new_name: Its new name.
        tracking_uri: Its tracking URI; None for the one that its home knows.

    Returns:
        Whether MLflow has the sweep; then `sweeper mirror` has to renew the words on its page there.

    Raises:
        UnknownSweepError: If the home has no such sweep.
        SweepBusyError: If a driver runs the sweep.
        HomeError: If the new name is taken, or a file cannot be written.
        TrackingError: If MLflow has a sweep of the new name, or cannot be reached.
    """
    command = f"rename {name} {new_name}"
    folder, target = home.sweep(name), home.sweep(new_name)
    is_moved = target.upkeep.get("command") == command
    is_begun = is_moved or folder.upkeep.get("command") == command
    here = target if is_moved else folder
    if not is_begun:
        home.known(name).require_own()
    uri = home.tracking_uri_of(here.name, tracking_uri)
    plan = _noted(home, folder, target, here) if is_begun else _planned(with_noted_files(folder), target, uri)
    with ExitStack() as stack:
        stack.enter_context(here.alone())
        # Imported late, because a refused renaming needs no database.
        from sweeper.ledger.database import shared_url
        from sweeper.ledger.ledger import Ledger

        url = shared_url(here.ledger_url) if here.has_shared_ledger else here.ledger_url
        ledger = Ledger(url, here.name, this_driver())  # a shared one stays locked until the end
        if here.has_shared_ledger:
            stack.callback(ledger.close)
        try:
            refuse_stranger(here, ledger) if here.has_shared_ledger else None
            if not is_begun:
                here.keep_tracking_note()
                places = {"files": plan.files, "new_files": plan.new_files}
                noted = {name: storage.without_credentials(place) for name, place in places.items()}
                here.begin_upkeep(command, experiments=list(plan.experiments), **noted)
            if plan.files != plan.new_files:
                _move(plan)
            if not is_moved:
                ledger.rename(new_name)
        finally:
            if not here.has_shared_ledger:
                ledger.close()  # before the folder with its file moves
        if not is_moved:
            _move_folder(folder, target)
        if plan.experiments:
            rename_in_mlflow(uri, name, new_name, plan.experiments)
        target.end_upkeep()
    return bool(plan.experiments)


def _noted(home: Home, folder: SweepFolder, target: SweepFolder, here: SweepFolder) -> _Plan:
    noted = here.upkeep
    try:
        files, new_files = str(noted["files"]), str(noted["new_files"])
        if home.storage and files != new_files:  # the option may hold credentials, which are never noted
            files, new_files = folder.files, target.files
        return _Plan([str(one) for one in noted["experiments"]], files, new_files)
    except (KeyError, TypeError) as error:
        raise HomeError(f"the note in {here.path} of what is being done with its sweep is torn.") from error


def _planned(folder: SweepFolder, target: SweepFolder, uri: str) -> _Plan:
    """Check that nothing prevents the renaming, and return its plan."""
    name, new_name = folder.name, target.name
    standing = standing_of(folder)
    if standing.driver:
        raise SweepBusyError(
            f"sweep {name!r} is being driven by {standing.driver}, so it keeps its name. End that process first, with "
            "Ctrl-C or `kill`."
        )
    if new_name == name:
        raise HomeError(f"sweep {name!r} has this name already. Give it another one.")
    if is_reserved(new_name):
        raise HomeError(f"a sweep cannot be called {new_name!r}: a home keeps files of its own under that name.")
    if target.path.exists():
        raise HomeError(f"{target.path} is there already. Choose another name.")
    holding = held(uri, name)
    experiments: Sequence[str] = ()
    if holding is not None and not not_its_own(holding, folder, standing, uri):
        experiments = holding.experiments
    refuse_taken(uri, new_name)
    if folder.has_shared_ledger and _is_in_shared(folder, new_name):
        raise HomeError(f"there is a sweep {new_name!r} in {redacted(folder.ledger_url)} already. Choose another name.")
    files = new_files = folder.files
    if folder.has_files_elsewhere:
        new_files = storage.renamed(files, new_name)
        try:
            taken = storage.sizes_below(new_files)
        except OSError as error:
            where = storage.without_credentials(new_files)
            raise HomeError(f"the storage {where} cannot be read: {error.strerror or error}.") from error
        if taken:
            raise HomeError(
                f"there are files in {storage.without_credentials(new_files)} already. Choose another name."
            )
    return _Plan(list(experiments), files, new_files)


def _is_in_shared(folder: SweepFolder, name: str) -> bool:
    from sweeper.ledger.database import shared_url
    from sweeper.ledger.ledger import Ledger

    with closing(Ledger(shared_url(folder.ledger_url), name, only_reads=True)) as ledger:
        return bool(ledger.revisions)


def _move(plan: _Plan) -> None:
    try:
        storage.move_folder(plan.files, plan.new_files)
    except OSError as error:
        raise HomeError(
            f"the files in {storage.without_credentials(plan.files)} cannot be moved to "
            f"{storage.without_credentials(plan.new_files)}: {error.strerror or error}. Give the command again when "
            "they can."
        ) from error


def _move_folder(folder: SweepFolder, target: SweepFolder) -> None:
    try:
        folder.path.rename(target.path)
    except OSError as error:
        raise HomeError(
            f"the folder {folder.path} cannot be renamed to {target.path}: {error.strerror}. Give the command again "
            "when it can."
        ) from error
