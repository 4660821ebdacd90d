"""Studies of a search: trials of chosen blocks under proxies of their own, without evolution."""
