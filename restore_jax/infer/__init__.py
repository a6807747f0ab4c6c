"""Restorer -> Restorer: everything that deploys."""
