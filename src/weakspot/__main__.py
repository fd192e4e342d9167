"""`python -m weakspot` is `weakspot`."""

from weakspot.cli import main

main()
