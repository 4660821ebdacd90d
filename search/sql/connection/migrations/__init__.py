"""Alembic's migrations, run from the installed package by `search/sql/connection/migration.py`."""
