"""Studies in SQL: searches without proposals, listed below the search that they are of."""
