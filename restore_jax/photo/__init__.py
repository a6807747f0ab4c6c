"""Files <-> arrays: faithful to what the photographer saw."""
