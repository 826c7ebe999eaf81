"""Messages for failed requests to an MLflow server, with a way out. Loads nothing."""

from __future__ import annotations

import re

from sweeper.credentials import redacted

#: Answer of a server to a host name that it does not allow.
_OTHER_HOST = "Invalid Host header"


def reason_of(error: Exception) -> str:
    """Return why something could not be reached, in a line: the network's error, without the HTTP library's words."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there (connection refused)"
    text = str(error).strip()
    if "ConnectionPool(" not in text:  # not wrapped by an HTTP library
        return (text.splitlines() or [type(error).__name__])[0]
    if "Connection refused" in text:
        return "nothing listens there (connection refused)"
    if re.search(r"Failed to resolve|Name or service not known|nodename nor servname|Temporary failure in name", text):
        return "the name of the machine is not known"
    if re.search(r"timed out|Timeout", text):
        return "it did not answer in time"
    if found := re.search(r"\[Errno -?\d+\] [^'\")]+", text):
        return found[0]
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not one that this machine trusts"
    return text.splitlines()[0]


def refusal(uri: str, doing: str, error: Exception) -> str:
    """Return the message if a server refused a request (HTTP 401 or 403); empty if something else is wrong."""
    response = getattr(error, "response", None)  # set if an artifact was requested
    status = getattr(response, "status_code", None)
    if status is None and hasattr(error, "get_http_status_code"):
        status = error.get_http_status_code()
    who = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    and_address = ", or mend the login in the address, which goes first" if redacted(uri) != uri else ""
    if status == 401:
        return (
            f"could not {doing}: MLflow at {redacted(uri)} asks for a user and a password that it knows (HTTP 401). "
            f"{who}{and_address}."
        )
    if status != 403:
        return ""
    if _OTHER_HOST in f"{error}{getattr(response, 'text', '')}":
        return (
            f"could not {doing}: MLflow at {redacted(uri)} does not answer to this name (HTTP 403). "
            "Start the server with --allowed-hosts, or name it as it calls itself with --tracking-uri."
        )
    return (
        f"could not {doing}: MLflow at {redacted(uri)} does not let this user do that (HTTP 403). Ask whoever made the "
        f"sweep, or an administrator, for the permission. {who} to be another user{and_address}."
    )
