"""Engines, transactions, tables and their migrations."""
