"""`python -m sweeper` is the same as `sweeper`."""

from sweeper.cli import main

main()
