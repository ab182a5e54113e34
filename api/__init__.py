"""The fronts: command line and HTTP. The only package that imports fastapi, pydantic and typer."""
