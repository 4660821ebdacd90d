"""Mixture of experts: routing rules, dispatch, and experts on several devices."""
