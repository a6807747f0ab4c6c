"""What is trained: plain dicts, importing nothing from the package."""
