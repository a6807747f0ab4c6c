"""What a test holds the library to: worlds in which every answer is known exactly.

Users may import it; nothing in the package does.
"""
