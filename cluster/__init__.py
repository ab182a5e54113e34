"""Where shards run, and what a service remembers: Ray, the dispatcher, the queue, the locks.

The only package that imports ray. `dispatch` reads from top to bottom; `store` has what is kept.
"""
