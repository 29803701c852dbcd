"""DP-SGD along a stream: one network trained further at every experience, and nothing stored."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from avalanche.training.plugins.evaluation import default_evaluator
from torch.nn import CrossEntropyLoss

from continual.checks import check_avalanche_options, check_private_naive
from continual.items import read_items
from continual.template import TemplateWithGenerator
from distill import Ledger, PreprocessedImages, Preprocessing, PrivateSGD
from distill.accounting.ledger import summed
from distill.accounting.noise_stream import derived_seed
from distill.networks import Network

__all__ = ["PrivateNaive"]


class PrivateNaive(TemplateWithGenerator):
    """At every experience: train the same network further by DP-SGD on its records alone.

    The baseline of private replay without replay: it keeps no record and no set, and forgets as Avalanche's `Naive`
    does. Experiences of other classes hold other records, so that their epsilons compose in parallel; a class that
    comes back is paid for again (`ledger`).

    - `model`: a network of `distill` with as many outputs as there are classes in all, with public weights.
    - `sgd`: the training of each experience, with its own budget for it.
    - `preprocessing`: what the images of the stream went through, as nothing may be fitted on private ones.
    - `seed`: batches and noise of each experience come from it and from how many came before: a secret.

    Raises `InputError` for arguments of another kind, and for what `PrivateSGD.train` refuses. Training transforms are
    left out; plugins see experiences, not iterations.

        >>> from continual import accuracy_evaluator, class_incremental, stream_accuracy
        >>> from distill import Identity, PrivateSGD, load_images
        >>> digits = Identity().apply(load_images("digits").subset(range(60)))
        >>> stream = class_incremental(digits, digits, steps=2)
        >>> sgd = PrivateSGD(steps=2, batch_size=20, width=4, depth=1, noise_multiplier=9.0)
        >>> strategy = PrivateNaive(
        ...     model=sgd.build(digits, seed=0), sgd=sgd, preprocessing=Identity(), evaluator=accuracy_evaluator()
        ... )
        >>> for experience in stream.train_stream:
        ...     metrics = strategy.train(experience)
        >>> 0 <= stream_accuracy(strategy, stream.test_stream) <= 1, len(strategy.ledger.spent)
        (True, 2)
    """

    def __init__(
        self,
        *,
        model: Network,
        sgd: PrivateSGD,
        preprocessing: Preprocessing,
        seed: int = 0,
        eval_mb_size: int = 500,
        device: str = "cpu",
        plugins: Sequence[SupervisedPlugin] | None = None,
        evaluator: EvaluationPlugin | Callable[[], EvaluationPlugin] = default_evaluator,
        eval_every: int = -1,
        progress: bool = False,
    ) -> None:
        check_private_naive(model, sgd, preprocessing, seed, eval_mb_size, device, progress)
        check_avalanche_options(plugins, evaluator, eval_every, "epoch")
        self.sgd, self.preprocessing, self.seed, self.progress = sgd, preprocessing, seed, progress
        self.ledgers: list[Ledger] = []
        super().__init__(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=sgd.learning_rate),  # for the template; never used
            criterion=CrossEntropyLoss(),  # in evaluation
            train_mb_size=sgd.batch_size,
            train_epochs=1,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=plugins,
            evaluator=evaluator,
            eval_every=eval_every,
        )

    @property
    def ledger(self) -> Ledger | None:
        """What was spent on all experiences so far; `None` before the first one."""
        return summed(self.ledgers)

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """None: `PrivateSGD` draws batches by coins."""
        self.dataloader = ()

    def training_epoch(self, **kwargs: Any) -> None:
        """Train on the records of the experience."""
        items = read_items(self.experience.dataset)
        classes = tuple(map(str, range(self.model.head.out_features)))
        data = PreprocessedImages(items.images, items.labels, classes, self.preprocessing)
        trained = self.sgd.train(
            data,
            network=self.model,
            seed=derived_seed(self.seed, len(self.ledgers)),  # no two trainings share noise
            device=str(self.device),
            progress=self.progress,
        )
        self.ledgers.append(trained.ledger)
