"""``python -m streamgmm``."""

from .cli import main

main()
