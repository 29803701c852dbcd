"""Differential privacy: what was released of private records, and which epsilon that costs."""
