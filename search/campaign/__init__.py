"""A campaign that goes on: what one search has evaluated, taken into the next."""
