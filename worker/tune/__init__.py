"""Ray and Ray Tune: the dispatcher, its actors and searchers."""
