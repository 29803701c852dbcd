"""One run of the distillation benchmark: what to distil and evaluate, resolved and validated up front."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.budget import Choice
from benchmarks.harness.budget_plan import checked_budget
from benchmarks.harness.checks import named_by_flags
from benchmarks.harness.command_line import option_value
from benchmarks.harness.data import check_counts, kept_preprocessing
from benchmarks.harness.experiment import Experiment
from benchmarks.harness.methods import distiller_class, prefix_of
from benchmarks.harness.options import class_options
from benchmarks.studies.distillation.checks import check_options
from benchmarks.studies.distillation.equal_time import options_for
from benchmarks.studies.distillation.evaluation_networks import columns_of
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.distillation.saved_sets import files_of, names_of, read_set
from distill import Distiller, Identity, PreprocessedImages, Preprocessing, TrainingRecipe
from distill.distillers.run import Run
from distill.store import Store

__all__ = ["DistillationRun", "Row"]

TIMED = ("seconds_of_networks", "seconds_per_step")


@dataclass(frozen=True)
class Row:
    """What makes one set for each seed: a distiller, or a file.

    - `value`: of the option that is swept, as typed. `seconds_of_networks`, `seconds_per_step`: as timed for
      `--seconds`; of networks that are trained before the first step, and of a step.
    """

    name: str
    distiller: Distiller | None = None
    file: Path | None = None
    value: str | None = None
    seconds_of_networks: float = 0.0
    seconds_per_step: float = 1.0

    @property
    def method(self) -> str:
        """The distiller's, or "file"."""
        return self.distiller.method if self.distiller is not None else "file"


class DistillationRun(Experiment):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    ranks = True
    options: DistillationOptions

    def __init__(self, options: DistillationOptions) -> None:
        self.options = options = checked_budget(options, options.methods)
        check_options(options)
        super().__init__(options, held_out=options.held_out)
        self.choice = None if options.budget is None else Choice.recorded(self.folder)
        self._resolve()
        self._check_images()

    def _resolve(self) -> None:
        """The columns and rows that the options ask for, those that were chosen for a budget included."""
        options = self.options
        recipe, distillers = self.made({} if self.choice is None else self.choice.options)
        self.columns = columns_of(options.evaluate_on, recipe)
        named = zip(names_of(options.set), options.set, strict=True)
        self.rows = [Row(name, file=file) for name, file in named] or self._distilled_rows(distillers)

    @staticmethod
    def default_folder(options: DistillationOptions) -> Path:
        """Named for the data set, and for the sets, their size, or the option that is swept."""
        name = f"distill-{Path(options.dataset).stem}"
        if options.set:
            return Path("results") / f"{name}-{options.set[0].stem}"
        name = f"{name}-{options.images_per_class}"
        return Path("results") / (f"{name}-{options.sweep[0]}" if options.sweep else name)

    def made(self, changes: Mapping[str, Mapping[str, Any]]) -> tuple[TrainingRecipe, dict[str, Distiller]]:
        """The recipe and the distillers, by method; `changes`: to options of the preset, by prefix."""
        own = class_options(self.options, channels=self.train.images.shape[-1], changes=changes)
        distillers = {name: distiller_class(name)(**own.get(prefix_of(name), {})) for name in self.options.methods}
        return TrainingRecipe(**own["train"]), distillers

    def _distilled_rows(self, distillers: Mapping[str, Distiller]) -> list[Row]:
        """A row for each method; in its place one for each value, where one of its options is swept."""
        option, *values = self.options.sweep or ("",)
        swept = option.partition("-")[0]
        rows = []
        for name, distiller in distillers.items():
            prefix = prefix_of(name)
            if prefix != swept:
                rows.append(Row(name, distiller))
                continue
            key = option.removeprefix(f"{swept}-").replace("-", "_")
            for value in values:
                with named_by_flags(prefix):
                    changed = distiller.with_options(**{key: option_value(type(distiller), key, value, flag=option)})
                rows.append(Row(f"{name} {key}={value}", changed, value=value))
        return rows

    def _check_images(self) -> None:
        """Raise `InputError` where an option does not go with the images, minutes before it would be needed."""
        height, width, channels = self.train.images.shape[1:]
        shape = (channels, height, width)
        if not self.options.set:
            check_counts(self.train, self.options.images_per_class)
        for row in self.rows:
            if row.distiller is not None:
                with named_by_flags(prefix_of(row.method)):
                    row.distiller.check_images(shape, self.train.num_classes)
            if row.file is not None:  # read again when "fit" is known; whatever else is wrong with it shows now
                read_set(row.file, self.options, self.test, Identity())
        for column in self.columns:
            column.recipe.build(image_shape=shape, num_classes=self.train.num_classes, generator=torch.Generator())

    def files(self) -> list[Path]:
        """The saved sets, and what says how they were made."""
        return files_of(self.options)

    def resolved(self) -> dict[str, Any]:
        """The distiller of each row, and the recipe of each column."""
        return {
            "rows": {row.name: row.distiller.options() for row in self.rows if row.distiller is not None},
            "columns": {column.name: vars(column.recipe) for column in self.columns},
            **({} if self.choice is None else {"chosen": vars(self.choice)}),
        }

    def prepare(self) -> None:
        """Preprocess the images, and find out how many steps `--seconds` are; both are kept in the folder."""
        distils = not self.options.set
        fitted = distils or self.options.preprocessing == "fit"
        self.preprocessing = kept_preprocessing(Store(self.folder), "preprocessing", self.train) if fitted else None
        self._tested: PreprocessedImages | None = None
        self.data = self.preprocessing.apply(self.train) if distils and self.preprocessing is not None else None
        if self.options.seconds is not None:
            self.rows = [self._allotted(row, self.options.seconds) for row in self.rows]

    @property
    def networks(self) -> Store:
        """Where networks are that several sets are made with."""
        store = Store(self.folder / "networks")
        return Store(store.folder, shared=store)

    def _allotted(self, row: Row, seconds: float) -> Row:
        """The row with as many steps as take so long here; timed once, so that a resumed run takes as many."""
        if row.distiller is None or self.data is None:
            return row
        asked = Run(images_per_class=self.options.images_per_class, device=self.options.device, store=self.networks)
        timed = Store(self.folder).get(
            f"steps-{row.name.replace(' ', '-')}",
            self.made_from(seconds=seconds, **asked.options(), **row.distiller.options()),
            partial(options_for, row.distiller, self.data_for(row.distiller), seconds, asked),
        )
        found = {name: timed.metadata[name] for name in TIMED if name in timed.metadata}
        return replace(row, distiller=row.distiller.with_options(**timed.metadata["options"]), **found)

    def data_for(self, distiller: Distiller) -> PreprocessedImages:
        """The training images as `distiller` takes them: for a private one, nothing may be fitted on them."""
        if distiller.is_private:
            return distiller.preprocessing_for(self.train).apply(self.train)
        assert self.data is not None
        return self.data

    def tested_as(self, preprocessing: Preprocessing) -> PreprocessedImages:
        """The test images, preprocessed as a set was; the last ones are kept."""
        if self._tested is None or not self._tested.preprocessing.same_as(preprocessing):
            self._tested = preprocessing.apply(self.test)
        return self._tested

    def seeds_of(self, row: Row) -> tuple[int, ...]:
        """Seeds of the distillations; a file is one set."""
        return (0,) if row.file is not None else self.options.seeds

    def folder_of(self, row: Row, seed: int) -> Path:
        """The folder of one set."""
        return self.folder / row.name.replace(" ", "-") / f"seed-{seed}"
