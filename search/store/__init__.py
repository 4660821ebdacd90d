"""The contract of the store, and the frozen records that it returns."""
