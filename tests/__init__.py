"""Tests; names are behaviours, folders mirror the source."""
