"""`python -m sweeper` is the same as `sweeper`."""

from sweeper.cli.run import main

main()
