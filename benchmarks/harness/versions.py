"""Versions of the packages that figures depend on."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["COMPARED", "versions_of"]

COMPARED = ("frepo-toolkit", "torch", "numpy")  # between a run and its resumption


def versions_of(*packages: str) -> dict[str, str]:
    """The version of each package; "not installed" where there is none, as of a checkout that was not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
