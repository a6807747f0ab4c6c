"""Numbers that can be compared: how they were made is data, stamped on each."""
