"""Programs a person runs: they read options, call the packages, and write results."""
