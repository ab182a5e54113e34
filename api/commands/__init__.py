"""Subcommands of `ihp`, one module per subject; each adds itself to `api.console.app`."""
