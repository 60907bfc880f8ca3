"""Real clients, recorded for real: `make clients` (the ordinary run collects only the test_*.py here).

`python -m tests.clients` installs what it needs under .clients, runs each client of `clients.py`
through `flowtap run` against a loopback upstream that speaks its protocol, and writes the table
of docs/clients.md when every client was there and passed.
"""
