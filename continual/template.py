"""Avalanche's template of supervised strategies, with loaders that leave the global random generator alone."""

from typing import Any

import torch
from avalanche.training.templates import SupervisedTemplate

__all__ = ["TemplateWithGenerator"]


class TemplateWithGenerator(SupervisedTemplate):
    """A strategy whose loaders have a generator of their own.

    Even without shuffling, a torch DataLoader draws from the global generator unless it has its own.
    """

    def _obtain_common_dataloader_parameters(self, **kwargs: Any) -> dict[str, Any]:
        return {**super()._obtain_common_dataloader_parameters(**kwargs), "generator": torch.Generator()}
