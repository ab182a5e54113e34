"""Rows and codes of tables: hashed, ordered, picked, joined and packed; text and decimals read."""
