"""Distilled replay in Avalanche: scikit-learn's digits in five steps of two classes, seconds on a CPU."""

import torch
from avalanche.training import Naive
from avalanche.training.plugins import ReplayPlugin

from continual import DistilledBuffer, SoftLabelLoss, accuracy_evaluator, class_incremental, stream_accuracy
from distill import FRePo, load_images
from distill.preprocess import default_preprocessing

torch.manual_seed(0)
train, test = load_images("digits"), load_images("digits", split="test")
preprocessing = default_preprocessing(train)
benchmark = class_incremental(preprocessing.apply(train), preprocessing.apply(test), steps=5)

# The buffer: after each step its classes are distilled to 10 images each. Take more steps, and the default width, for
# larger images.
frepo = FRePo(steps=50, width=16, batch_size=256, learning_rate=8e-3, norm="instance")
policy = DistilledBuffer(frepo, images_per_class=10, seed=0, num_classes=10, preprocessing=preprocessing)

model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.AvgPool2d(2), torch.nn.Flatten(),
    torch.nn.Linear(32 * 16, 10),
)  # fmt: skip
strategy = Naive(
    model=model,
    optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    criterion=SoftLabelLoss(10),
    train_mb_size=32,
    train_epochs=3,
    eval_mb_size=500,
    plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)],
    evaluator=accuracy_evaluator(),
)
for experience in benchmark.train_stream:
    strategy.train(experience)
    seen = benchmark.test_stream[: experience.current_experience + 1]
    accuracy = stream_accuracy(strategy, seen)
    print(f"{len(policy.buffer):3} images kept: {100 * accuracy:.1f} % over the classes seen")
