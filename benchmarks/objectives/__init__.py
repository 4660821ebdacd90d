"""Objectives whose optimum is known, or searched for long, to measure searches by."""
