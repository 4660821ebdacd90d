"""The commands about searches: launch and watch them, read what they found, export it."""
