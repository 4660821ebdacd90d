"""Exported models under lm-evaluation-harness."""
