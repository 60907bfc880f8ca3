"""Every bench, one after the other: `python -m tests.bench`, the long ones in their short form.

Benches print and never fail: a clock is no judge on a shared machine.
"""

import importlib
import pkgutil
import sys

import tests.bench

SHORT = {"bench_capture": ["--quick"]}
"""What makes a bench take a minute instead of ten."""


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
        importlib.import_module(f"tests.bench.{name}").main(SHORT.get(name, []))
    return 0


if __name__ == "__main__":
    sys.exit(main())
