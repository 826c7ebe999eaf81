"""Marks of an archived sweep, shared by the home and the readers of archives."""

#: The file that marks an archived sweep, in the sweep's folder, and in a home that is the archive itself.
MARKER = "archived.json"

#: Scheme of the tracking URI of an archived sweep; the folder of the sweep follows.
SCHEME = "archived:"
