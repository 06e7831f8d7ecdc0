"""``python -m copyscope_core.cli`` is ``copyscope``."""

from .main import main

if __name__ == "__main__":
    main()
