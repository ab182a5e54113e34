"""Where shards run: the only package that imports ray."""
