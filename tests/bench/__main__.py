"""Every bench, one after the other: `python -m tests.bench`. Figures are ratios within one run.

Benches print and never fail: a clock is no judge on a shared machine.
"""

import importlib
import pkgutil
import sys

import tests.bench


def names() -> list[str]:
    """The benches, by name: every `bench_*` module here that has a `main`."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(tests.bench.__path__)
        if module.name.startswith("bench_")
    )


def main() -> int:
    """Run them all; the exit status is 0."""
    for name in names():
        sys.stdout.write(f"\n== {name} ==\n")
        sys.stdout.flush()
        importlib.import_module(f"tests.bench.{name}").main([])
    return 0


if __name__ == "__main__":
    sys.exit(main())
