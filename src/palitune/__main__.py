"""`python -m palitune`."""

from palitune.cli import main

main()
