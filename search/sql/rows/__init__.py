"""Rows as values and as the records that the rest of the system sees."""
