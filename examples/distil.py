"""Distil scikit-learn's digits to two images per class, look at them, and train on them: seconds on a CPU."""

from distill import FRePo, Random, SyntheticSet, TrainingRecipe, evaluate, load_images

train, test = load_images("digits"), load_images("digits", split="test")

# Hyper-parameters belong to the method; what one run needs is given to `distill`.
frepo = FRePo(steps=300, width=32, batch_size=256, learning_rate=8e-3)
recipe = TrainingRecipe(width=32, train_steps=200, warmup_steps=20, learning_rate=3e-3)

# Random real images under the same recipe: the baseline that a distillation has to beat.
for distiller in (frepo, Random()):
    synthetic = distiller.distill(train, images_per_class=2, seed=0)
    synthetic.save(f"{distiller.method}.safetensors")
    synthetic.plot(f"{distiller.method}.png")
    evaluation = evaluate(synthetic, synthetic.preprocessing.apply(test), recipe=recipe, networks=2)
    print(f"{distiller.method:7} {evaluation}")

# A saved set has its labels, class names and preprocessing with it, and is an ordinary torch Dataset.
image, label = SyntheticSet.load("frepo.safetensors")[0]
print(f"an image of shape {tuple(image.shape)} with soft labels of shape {tuple(label.shape)}")
