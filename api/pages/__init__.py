"""The service in a browser: pages made here, of the same functions that answer under `/v1`.

Every page works without a script; the script shows progress as it comes and sorts tables.
"""
