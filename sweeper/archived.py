"""How a sweep of an archive is told from others: the home and whoever reads it back must agree."""

#: The file that says so, in the folder of the sweep, and in a home that is the archive itself.
MARKER = "archived.json"

#: What the address begins with by which it is read; the folder of the sweep follows.
SCHEME = "archived:"
