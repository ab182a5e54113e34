"""Risk models: table schema, compilers and the facts that published tables leave out."""
