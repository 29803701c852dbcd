"""What all benchmarks share: command line, presets, data, tasks side by side, run folders, results."""
