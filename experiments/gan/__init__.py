"""The small ESRGAN against the net it starts from."""
