"""Refuses secrets on the command line, because every user of a machine can list all processes with their arguments."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.cli import environment
from sweeper.credentials import redacted, secrets_of
from sweeper.errors import QueryError

#: The right place for a login, by the option whose address needs it.
_INSTEAD = {
    "--tracking-uri": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole address in "
    + environment.TRACKING_URI,
    "--ledger": f"PGPASSWORD, the file ~/.pgpass, or the whole address in {environment.LEDGER}",
    "--storage": "what its file system reads, such as AWS_SECRET_ACCESS_KEY, or the whole address in "
    + environment.STORAGE,
    "--address": "a file that RAY_AUTH_TOKEN_PATH names",
}


def refuse_secrets(words: Sequence[str]) -> None:
    """Refuse an address with a password or key, for any command and option.

    Args:
        words: The command line.

    Raises:
        QueryError: If a word holds a secret; names the option, the redacted address, and the right place for a login.
    """
    option = ""
    for word in words:
        if word.startswith("--"):
            option, _, word = word.partition("=")
        if "://" in word and secrets_of(word):
            name = option if option in _INSTEAD else "an address"
            instead = _INSTEAD.get(option, "the environment, or the file that its client reads")
            raise QueryError(
                f"{name} must hold no password or key, because everybody on this machine can list command lines, but "
                f"got {redacted(word)}. Leave it out of the address, and give it in {instead}. One that is no password "
                "needs its @ written %40."
            )
