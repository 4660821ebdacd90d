"""Alembic's migrations, run from the installed package by `search/migration.py`."""
