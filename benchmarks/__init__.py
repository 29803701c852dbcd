"""Programs a person runs: they read options, call the packages, and write results."""

from importlib.util import find_spec

if find_spec("tyro") is None:
    raise ImportError("the benchmarks need more packages: pip install --editable '.[benchmarks]'")
