"""The table and the picture of the few-step ablation."""
