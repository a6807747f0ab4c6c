"""The table and the picture of zero-shot restoration."""
