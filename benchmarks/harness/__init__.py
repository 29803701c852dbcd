"""What all benchmarks share: command line, presets, data, parallel tasks, run folders, results."""
