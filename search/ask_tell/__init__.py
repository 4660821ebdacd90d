"""Our evolution with anybody's evaluator, in memory or in SQL."""
