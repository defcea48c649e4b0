"""`python -m sizer`."""

from sizer.cli import main

main()
