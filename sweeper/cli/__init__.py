"""The command line: parses, calls, prints, exits. Only this package prints.

May import: every room but `search`. Owns typer and rich.
Must not know: mathematics. Other packages compute what this one prints.
"""
