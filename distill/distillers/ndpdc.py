"""NDPDC: private matching of class sums of random features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.accounting.ledger import Ledger
from distill.accounting.noise_stream import NoiseStream
from distill.distillers.features import features_of
from distill.distillers.private_stepwise import PrivateState, PrivateStepwise
from distill.distillers.run import Run
from distill.distillers.state import Start
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.runtime.seeds import Purpose

__all__ = ["NDPDC"]


@dataclass(frozen=True, kw_only=True)
class NDPDC(PrivateStepwise):
    """Features of the distilled images match noisy sums of clipped features of the records of each class.

    Source: Zheng & Li, *Differentially Private Dataset Condensation* (NDSS 2024): distribution matching with one
    Gaussian release a network. Other than there, every release is counted with its own noise, which is drawn once:
    drawing noise anew over a stored sum without noise would let it be averaged away, and void the guarantee. Start,
    sampling, features and optimizer are those of `PrivateFRePo`, so that the two differ in what they release alone.

    >>> from distill import load_images
    >>> ndpdc = NDPDC(steps=2, batch_size=64, width=4, depth=1, noise_multiplier=9.0, init="noise")
    >>> ndpdc.distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by ndpdc, epsilon 0.0... at delta 1e-05)
    """

    method: ClassVar[str] = "ndpdc"
    summed: ClassVar[str] = "sums of features of each class"

    def state(
        self, data: PreprocessedImages, run: Run, start: Start, labels: Tensor, *, coins: NoiseStream,
        noise: NoiseStream, ledger: Ledger,
    ) -> "NDPDCState":  # fmt: skip
        """With a network, drawn anew for each release."""
        draws = run.generator(Purpose.NETWORKS)
        network = self.build(data.image_shape, data.num_classes, draws, device=run.device).requires_grad_(False).eval()
        return NDPDCState(
            run, start, labels, coins=coins, noise=noise, ledger=ledger, network=network, draws=draws, options=self
        )

    def step(self, state: "NDPDCState", data: PreprocessedImages) -> None:
        """One release, and one update by it; changes `state`."""
        state.network.reset_parameters(state.draws)
        present = torch.unique(state.class_ids)
        features_s = features_of(state.network, state.seen(), chunk_size=self.chunk_size)
        centre = features_s.detach().mean(0) * (len(features_s) > 1)

        def terms(images_t: Tensor, labels_t: Tensor) -> tuple[Tensor, Tensor]:
            unit_t = centre.new_zeros(0, len(centre))
            if len(images_t):
                unit_t = F.normalize(features_of(state.network, images_t, chunk_size=self.chunk_size) - centre, dim=1)
            return F.one_hot(torch.searchsorted(present, labels_t.cpu()), len(present)).to(unit_t), unit_t

        sums = self.noisy_sum(state, data, terms)  # of each class
        # From here on, post-processing. Classes are taken to be equally large: their sizes are not released.
        means_t = sums * len(present) / self.expected_batch_size(len(data))
        means_s = F.normalize(features_s - centre, dim=1).view(len(present), -1, len(centre)).mean(1)
        state.update((means_s - means_t).square().sum())


class NDPDCState(PrivateState):
    """A private state with the `network` to match in, as `draws` draws it."""

    def __init__(
        self, run: Run, start: Start, labels: Tensor, *, coins: NoiseStream, noise: NoiseStream,
        ledger: Ledger, network: Network, draws: torch.Generator, options: NDPDC,
    ) -> None:  # fmt: skip
        super().__init__(run, start, labels, coins=coins, noise=noise, ledger=ledger, options=options)
        self.network, self.draws = network, draws

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: what draws networks as well; each step draws its own."""
        return {**super().tensors(), "draws": self.draws.get_state()}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        super().restore(tensors, metadata)
        self.draws.set_state(tensors["draws"])
