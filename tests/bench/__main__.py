"""`make bench`: the figures, each ratio taken in one run. Absolute rates move with the machine; ratios hold."""

import sys

from tests.bench import events, flood, jobs


def main() -> None:
    """Print every figure, one a line."""
    benches = {"verified events": events.bench, "paid jobs": jobs.bench, "paid jobs in a flood": flood.bench}
    for title, bench in benches.items():
        figures = bench()
        sys.stdout.write(f"{title}\n")
        for name, value in figures.items():
            sys.stdout.write(f"  {name:<28}{value:>12}\n")


if __name__ == "__main__":
    main()
