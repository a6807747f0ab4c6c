"""Array -> array: no keys, no parameters."""
