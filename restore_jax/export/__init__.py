"""From a restorer to a file for a phone, and the proof that the file computes the same."""
