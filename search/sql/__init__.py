"""The store in SQL, the same on SQLite and PostgreSQL."""
