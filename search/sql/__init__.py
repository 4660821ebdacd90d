"""The SQL behind `search/sql_store.py`, one concept a module."""
