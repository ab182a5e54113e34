"""A contract's operations over all replicates, and what is kept of their outcomes."""
