"""Dataset distillation: turn many labelled images into a few that train nearly as good a model.

The names below are imported when they are first used, so that `privacy`, which shares this package's errors and
files, does not need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.baselines import DM as DM
    from distill.baselines import DSA as DSA
    from distill.baselines import Herding as Herding
    from distill.baselines import Random as Random
    from distill.datasets import LabelledImages as LabelledImages
    from distill.datasets import load_images as load_images
    from distill.distiller import Distiller as Distiller
    from distill.errors import InputError as InputError
    from distill.errors import InputWarning as InputWarning
    from distill.evaluation import Evaluation as Evaluation
    from distill.evaluation import evaluate as evaluate
    from distill.frepo import FRePo as FRePo
    from distill.imported import import_set as import_set
    from distill.preprocess import ZCA as ZCA
    from distill.preprocess import CheckerboardZCA as CheckerboardZCA
    from distill.preprocess import Identity as Identity
    from distill.preprocess import PreprocessedImages as PreprocessedImages
    from distill.preprocess import Preprocessing as Preprocessing
    from distill.preprocess import Standardize as Standardize
    from distill.recipe import TrainingRecipe as TrainingRecipe
    from distill.synthetic import SyntheticSet as SyntheticSet

_FILES = {
    "DM": "baselines",
    "DSA": "baselines",
    "CheckerboardZCA": "preprocess",
    "ZCA": "preprocess",
    "Distiller": "distiller",
    "Evaluation": "evaluation",
    "FRePo": "frepo",
    "Herding": "baselines",
    "Identity": "preprocess",
    "InputError": "errors",
    "InputWarning": "errors",
    "LabelledImages": "datasets",
    "PreprocessedImages": "preprocess",
    "Preprocessing": "preprocess",
    "Random": "baselines",
    "Standardize": "preprocess",
    "SyntheticSet": "synthetic",
    "TrainingRecipe": "recipe",
    "evaluate": "evaluation",
    "import_set": "imported",
    "load_images": "datasets",
}
__all__ = list(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
