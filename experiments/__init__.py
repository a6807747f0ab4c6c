"""How results are made: launchers, and one folder a study."""
