"""The records: files are the truth, SQLite is the index."""
