"""DistilledBuffer: any Distiller as an Avalanche storage policy."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.benchmarks.utils.utils import concat_datasets
from avalanche.training.storage_policy import ExemplarsBuffer
from torch import Tensor

from continual.checks import check_buffer, check_experience
from continual.scenario import labelled_dataset
from continual.soft_labels import output_size, read_all, soft_label_attribute
from distill import Distiller, Identity, InputError, PreprocessedImages, Preprocessing, SyntheticSet
from distill.checks import require_whole
from distill.files import as_path
from distill.preprocess import KeptElsewhere
from distill.seeds import generator_for

__all__ = ["DistilledBuffer"]

SAMPLED_PIXELS = 32
# Whitened pixels differ in their last bits from machine to machine; other data differs by far more.
TOLERANCE = 1e-2


class DistilledBuffer(ExemplarsBuffer):
    """Keeps `distiller.images_per_class` distilled images of every class seen; each experience is distilled once.

    `post_adapt` distils the classes of one experience and adds them. Called again for an experience it has seen, it
    does nothing, so that several strategies can share one buffer. A class that comes back in a later experience is
    distilled anew and replaces what was kept of it; a class with fewer images than `images_per_class` gets as many as
    it has. `buffer` is the Avalanche dataset, `synthetic` the same as one `SyntheticSet`.

        ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)  # Avalanche wants the same number twice

    - `distiller`: what makes the images. Experience k uses a seed of its own, derived from the distiller's and k.
    - `num_classes` or `classes` (their names): of the whole problem; default: the outputs of the strategy's model.
    - `preprocessing`: what the stream's tensors went through, so that the images can be looked at; default: nothing.
    - `max_size`: at most so many images in all; then fewer of each class are kept, the first ones of each.
      Default: no limit but `images_per_class` of every class.
    - `held_out`: images that are in no experience; the distiller records accuracy on those of the current classes.
    - `cache_dir`: a folder where each experience's distilled set is saved, and found again by the next run; a
      distillation that was stopped goes on from its checkpoint there.
    - `progress`: show the distiller's progress bar.

    Images of an experience are read under their eval transforms, and the distilled images have none: they are in the
    space of the eval transform, and random crops or flips of the training transform never reach them.
    """

    def __init__(
        self,
        distiller: Distiller,
        *,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        max_size: int | None = None,
        held_out: PreprocessedImages | None = None,
        cache_dir: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        check_buffer(distiller, num_classes, classes, preprocessing, max_size, held_out, cache_dir)
        if classes is not None and num_classes not in (None, len(classes)):
            raise InputError(f"num_classes is {num_classes}, but {len(classes)} classes are named; give one of the two")
        if max_size is not None and max_size < 1:
            raise InputError(f"max_size is {max_size}; wanted at least 1, or None for no limit")
        self.distiller = distiller
        self.classes: tuple[str, ...] | None = None if classes is None else tuple(classes)
        if num_classes is not None and classes is None:
            self.classes = numbered(num_classes)
        if max_size is None:
            max_size = sys.maxsize if self.classes is None else distiller.images_per_class * len(self.classes)
        super().__init__(max_size)
        self.preprocessing = Identity() if preprocessing is None else preprocessing
        self.held_out = held_out
        self.cache_dir = None if cache_dir is None else as_path(cache_dir)
        self.progress = progress
        self._seen: dict[int, list[int]] = {}  # experience -> its classes
        self._parts: dict[int, SyntheticSet] = {}  # experience -> what is kept of it
        self._task_labels: dict[int, int] = {}

    @property
    def synthetic(self) -> SyntheticSet | None:
        """All distilled images as one set, in the order of `buffer`; `None` before the first experience."""
        if not self._parts:
            return None
        parts = list(self._parts.values())
        made_by = {"method": self.distiller.method, "parts": [part.made_by for part in parts]}
        return replace(SyntheticSet.concatenate(parts), made_by=made_by)

    def post_adapt(self, strategy: Any, experience: Any) -> None:
        """Distil the classes of `experience`, or find them in `cache_dir`, and add them to the buffer.

        `strategy` may be `None` when the number of classes was given. Raises `InputError` when images are no float
        tensors, a class id is out of range, another experience of the same index was distilled before, or a file in
        `cache_dir` was made with other options or data.
        """
        check_experience(experience)
        index = experience.current_experience
        present = sorted(int(c) for c in experience.dataset.targets.uniques)
        if self._seen.get(index, present) != present:
            raise InputError(
                f"experience {index} has classes {present}, but the buffer has distilled an experience {index} with "
                f"classes {self._seen[index]}; give every stream a DistilledBuffer of its own"
            )
        if index in self._seen:
            return
        task_label = single_task_label(experience)
        part = self._distilled(index, self._read(strategy, experience))
        self._replace_classes(part.class_ids)
        self._parts[index] = part
        self._task_labels[index] = task_label
        self._seen[index] = present
        self._trim()

    def resize(self, strategy: Any, new_size: int) -> None:
        """Keep at most `new_size` images, equally many of each class; what is dropped does not come back."""
        require_whole("new_size", new_size, least=1)
        self.max_size = new_size
        self._trim()

    def _read(self, strategy: Any, experience: Any) -> PreprocessedImages:
        if self.classes is None:
            if strategy is None:
                raise InputError("how many classes has the whole problem? Give DistilledBuffer num_classes or classes")
            self.classes = numbered(output_size(strategy.model))
        images, labels, *_ = read_all(experience.dataset.eval())
        return PreprocessedImages(images, labels.long(), self.classes, self.preprocessing)

    # -- what is kept --------------------------------------------------------------------------------------------

    def _replace_classes(self, class_ids: Tensor) -> None:
        """Forget older images of classes that have come back."""
        for index, part in list(self._parts.items()):
            self._keep(index, ~torch.isin(part.class_ids, class_ids))

    def _trim(self) -> None:
        """Keep the first images of each class when there are more than `max_size` in all, and rebuild the dataset."""
        if sum(map(len, self._parts.values())) > self.max_size:
            classes = [c for part in self._parts.values() for c in torch.unique(part.class_ids).tolist()]
            share, rest = divmod(self.max_size, len(classes))
            quota = {c: share + (position < rest) for position, c in enumerate(classes)}
            for index, part in list(self._parts.items()):
                self._keep(index, torch.tensor(within_quota(part.class_ids.tolist(), quota)))
        self.buffer = concat_datasets([self._dataset(index) for index in self._parts])

    def _keep(self, index: int, mask: Tensor) -> None:
        if not mask.any():
            del self._parts[index]
        elif not mask.all():
            self._parts[index] = self._parts[index].subset(mask)

    def _dataset(self, index: int) -> AvalancheDataset:
        part = self._parts[index]
        soft = soft_label_attribute(part.labels)
        return labelled_dataset(part.images, part.class_ids, task_label=self._task_labels[index], attributes=[soft])

    # -- distillation and its cache ------------------------------------------------------------------------------

    def _distilled(self, index: int, data: PreprocessedImages) -> SyntheticSet:
        """The distilled set of experience `index`, from the cache or made now."""
        distiller = self.distiller.with_options(seed=experience_seed(self.distiller.seed, index))
        made_from = describe_source(index, distiller, data)
        path = None if self.cache_dir is None else self.cache_dir / f"experience-{index}.safetensors"
        if path is not None and path.exists():
            part = SyntheticSet.load(path)
            check_source(path, part.made_by.get("made_from", {}), made_from)
            return replace(part, classes=data.classes, preprocessing=self.preprocessing)
        part = self._distil(distiller, data, path)
        part = replace(part, made_by={**part.made_by, "made_from": made_from})
        if path is not None:
            # A ZCA matrix takes 19 MB; the stream has it anyway.
            replace(part, preprocessing=KeptElsewhere()).save(path)
            for checkpoint in path.parent.glob(f"{path.stem}.checkpoint*"):
                checkpoint.unlink()
        return part

    def _distil(self, distiller: Distiller, data: PreprocessedImages, path: Path | None) -> SyntheticSet:
        """Distil all classes; those with fewer images than asked for apart, to as many as they have."""
        class_ids, counts = torch.unique(data.labels, return_counts=True)
        wanted = counts.clamp(max=distiller.images_per_class)
        parts = []
        for count in sorted(set(wanted.tolist()), reverse=True):
            group = class_ids[wanted == count]
            name = "checkpoint" if count == distiller.images_per_class else f"checkpoint-{count}"
            parts.append(
                distiller.with_options(images_per_class=count).distill(
                    data.subset(torch.isin(data.labels, group)),
                    held_out=self._held_out(group),
                    checkpoint=None if path is None else path.with_suffix(f".{name}.safetensors"),
                    progress=self.progress,
                )
            )
        return SyntheticSet.concatenate(parts)

    def _held_out(self, class_ids: Tensor) -> PreprocessedImages | None:
        if self.held_out is None:
            return None
        mask = torch.isin(self.held_out.labels, class_ids)
        return self.held_out.subset(mask) if mask.any() else None


def numbered(num_classes: int) -> tuple[str, ...]:
    """Names for classes that have none."""
    return tuple(str(c) for c in range(num_classes))


def experience_seed(seed: int, index: int) -> int:
    """A seed for each experience; neighbouring seeds and experiences have nothing in common."""
    return generator_for(seed, index).initial_seed() % 2**31


def single_task_label(experience: Any) -> int:
    """The task label of all images of an experience."""
    labels = getattr(experience.dataset, "targets_task_labels", None)
    found = {0} if labels is None else set(labels.uniques)
    if len(found) > 1:
        raise InputError(
            f"experience {experience.current_experience} holds images of tasks {sorted(found)}; wanted one task an "
            "experience"
        )
    return int(min(found, default=0))


def within_quota(class_ids: list[int], quota: dict[int, int]) -> list[bool]:
    """For each image, whether it is among the first `quota` of its class."""
    left = dict(quota)
    kept = []
    for class_id in class_ids:
        left[class_id] -= 1
        kept.append(left[class_id] >= 0)
    return kept


def describe_source(index: int, distiller: Distiller, data: PreprocessedImages) -> dict[str, Any]:
    """What a cached set must have been made from to be used again: options and data, but not the device."""
    pixels = data.images[:].flatten()
    sampled = pixels[torch.linspace(0, len(pixels) - 1, SAMPLED_PIXELS, dtype=torch.float64).long()]
    source = {
        "experience": index,
        "method": distiller.method,
        **{name: value for name, value in distiller.options().items() if name != "device"},
        "classes": torch.unique(data.labels).tolist(),
        "num_classes": data.num_classes,
        "images": list(data.images.shape),
        "preprocessing": data.preprocessing.kind,
        "pixels": [round(value, 4) for value in sampled.tolist()],
    }
    return json.loads(json.dumps(source))  # as it will be when it is read from a file


def check_source(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise `InputError` when the set at `path` was made from something else."""
    other = [name for name in wanted if name != "pixels" and found.get(name) != wanted[name]]
    if other:
        differences = ", ".join(f"{name} {found.get(name)} instead of {wanted[name]}" for name in other)
        raise InputError(f"{path} was made with {differences}; remove it or choose another cache_dir")
    if any(abs(a - b) > TOLERANCE for a, b in zip(found["pixels"], wanted["pixels"], strict=True)):
        raise InputError(f"{path} was made from other images; remove it or choose another cache_dir")
