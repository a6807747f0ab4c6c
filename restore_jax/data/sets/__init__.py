"""Photographs by number, one source a file."""
