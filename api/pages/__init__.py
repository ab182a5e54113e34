"""HTML templates served by the API."""
