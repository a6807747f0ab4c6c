"""How published numbers are made, as data: `get_config(which)` gives the fields of an `evaluate.protocol.Protocol`."""
