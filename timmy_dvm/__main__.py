"""`python -m timmy_dvm` is `timmy`."""

from timmy_dvm.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
