"""How the database came to its present form: one file a step, applied in order by Alembic."""
