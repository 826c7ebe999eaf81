"""The command line: parse, call, print, exit code. The only room that prints and that reads the environment.

May import: every room but `search`. Owns typer and rich.
Must not know: mathematics. What is printed was computed elsewhere.
"""
