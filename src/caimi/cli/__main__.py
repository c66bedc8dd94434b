"""`python -m caimi.cli`."""

from caimi.cli import main

main()
