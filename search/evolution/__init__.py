"""Which genome to try next: tournaments, mutations, random search, Pareto ranks."""
