"""Figures of Zhou et al. 2022, test accuracy in %, to stand beside ours: their budgets were other ones."""

__all__ = ["TABLE_1", "TABLE_2", "TABLE_7"]

# Table 1: by data set and images a class, networks trained on the set; "KRR": FRePo's own predictor. FRePo: 500 000
# steps and more, width 128, the best of learned and fixed labels. The others: the best of what their papers report and
# of the authors' runs, each on its own network.
TABLE_1: dict[tuple[str, int], dict[str, float]] = {
    ("mnist", 1): {"DSA": 88.7, "DM": 89.9, "KIP": 90.1, "MTT": 91.4, "FRePo": 93.0, "KRR": 92.6},
    ("mnist", 10): {"DSA": 97.9, "DM": 97.6, "KIP": 97.5, "MTT": 97.3, "FRePo": 98.6, "KRR": 98.6},
    ("mnist", 50): {"DSA": 99.2, "DM": 98.6, "KIP": 98.3, "MTT": 98.5, "FRePo": 99.2, "KRR": 99.2},
    ("fmnist", 1): {"DSA": 70.6, "DM": 71.5, "KIP": 73.5, "MTT": 75.1, "FRePo": 75.6, "KRR": 77.1},
    ("fmnist", 10): {"DSA": 84.8, "DM": 83.6, "KIP": 86.8, "MTT": 87.2, "FRePo": 86.2, "KRR": 86.8},
    ("fmnist", 50): {"DSA": 88.8, "DM": 88.2, "KIP": 88.0, "MTT": 88.3, "FRePo": 89.6, "KRR": 89.9},
    ("cifar10", 1): {"DSA": 36.7, "DM": 31.0, "KIP": 49.9, "MTT": 46.3, "FRePo": 46.8, "KRR": 47.9},
    ("cifar10", 10): {"DSA": 53.2, "DM": 49.2, "KIP": 62.7, "MTT": 65.3, "FRePo": 65.5, "KRR": 68.0},
    ("cifar10", 50): {"DSA": 66.8, "DM": 63.7, "KIP": 68.6, "MTT": 71.6, "FRePo": 71.7, "KRR": 74.4},
    ("cifar100", 1): {"DSA": 16.8, "DM": 12.2, "KIP": 15.7, "MTT": 24.3, "FRePo": 28.7, "KRR": 32.3},
    ("cifar100", 10): {"DSA": 32.3, "DM": 29.7, "KIP": 28.3, "MTT": 40.1, "FRePo": 42.5, "KRR": 44.9},
    ("cifar100", 50): {"DSA": 42.8, "DM": 43.6, "MTT": 47.7, "FRePo": 44.3, "KRR": 43.0},
    ("tiny-imagenet", 1): {"DSA": 6.6, "DM": 3.9, "MTT": 8.8, "FRePo": 15.4, "KRR": 19.1},
    ("tiny-imagenet", 10): {"DM": 12.9, "MTT": 23.2, "FRePo": 25.4, "KRR": 26.5},
    ("cub200", 1): {"DSA": 1.3, "DM": 1.6, "MTT": 2.2, "FRePo": 12.4, "KRR": 13.7},
    ("cub200", 10): {"DSA": 4.5, "DM": 4.4, "FRePo": 16.8, "KRR": 16.1},
    ("imagenette", 1): {"random": 23.5, "MTT": 47.7, "FRePo": 48.1, "KRR": 50.6},  # from here on Tables 3, 5 and 7
    ("imagenette", 10): {"random": 47.7, "MTT": 63.0, "FRePo": 66.5, "KRR": 67.1},
    ("imagewoof", 1): {"random": 14.2, "MTT": 28.6, "FRePo": 29.7, "KRR": 28.2},
    ("imagewoof", 10): {"random": 27.0, "MTT": 35.8, "FRePo": 42.2, "KRR": 43.5},
    ("imagenet", 1): {"random": 1.1, "FRePo": 7.5, "KRR": 7.2},
    ("imagenet", 2): {"random": 1.4, "FRePo": 9.7, "KRR": 9.5},
}

# Table 2: CIFAR-10, 10 images a class, by the network trained on the set, under the paper's names. "Conv": each
# method's own (DSA, DM and MTT: with instance norm; FRePo: without). FRePo and KIP were evaluated in JAX with the
# authors' own networks, the others in PyTorch with those of dataset condensation.
TABLE_2: dict[str, dict[str, float]] = {
    "DSA": {"Conv": 53.2, "Conv-NN": 36.4, "ResNet-DN": 42.1, "ResNet-BN": 34.1, "VGG-BN": 46.3, "AlexNet": 34.0},
    "DM": {"Conv": 49.2, "Conv-NN": 35.2, "ResNet-DN": 36.8, "ResNet-BN": 35.5, "VGG-BN": 41.2, "AlexNet": 34.9},
    "MTT": {"Conv": 64.4, "Conv-NN": 41.6, "ResNet-DN": 49.2, "ResNet-BN": 42.9, "VGG-BN": 46.6, "AlexNet": 34.2},
    "KIP": {"Conv": 62.7, "Conv-NN": 58.2, "ResNet-DN": 49.0, "ResNet-BN": 45.8, "VGG-BN": 30.1, "AlexNet": 57.2},
    "FRePo": {"Conv": 65.5, "Conv-NN": 65.5, "ResNet-DN": 58.1, "ResNet-BN": 57.7, "VGG-BN": 59.4, "AlexNet": 61.9},
}

# Table 7: network and KRR accuracy of FRePo with learned and with fixed labels.
TABLE_7: dict[tuple[str, int], dict[str, tuple[float, float]]] = {
    ("mnist", 1): {"learned": (92.5, 92.6), "fixed": (93.0, 92.6)},
    ("mnist", 10): {"learned": (98.6, 98.6), "fixed": (98.6, 98.6)},
    ("mnist", 50): {"learned": (99.2, 99.2), "fixed": (99.2, 99.2)},
    ("fmnist", 1): {"learned": (74.2, 76.4), "fixed": (75.6, 77.1)},
    ("fmnist", 10): {"learned": (86.2, 86.8), "fixed": (86.0, 86.6)},
    ("fmnist", 50): {"learned": (89.4, 89.9), "fixed": (89.6, 89.9)},
    ("cifar10", 1): {"learned": (45.5, 46.3), "fixed": (46.8, 47.9)},
    ("cifar10", 10): {"learned": (65.5, 68.0), "fixed": (65.4, 66.9)},
    ("cifar10", 50): {"learned": (71.7, 74.4), "fixed": (71.7, 73.8)},
    ("cifar100", 1): {"learned": (28.7, 32.3), "fixed": (25.4, 27.3)},
    ("cifar100", 10): {"learned": (42.5, 44.9), "fixed": (39.6, 41.5)},
    ("cifar100", 50): {"learned": (44.3, 43.0), "fixed": (40.1, 37.0)},
    ("tiny-imagenet", 1): {"learned": (15.4, 19.1), "fixed": (12.4, 15.8)},
    ("tiny-imagenet", 10): {"learned": (25.4, 26.5), "fixed": (21.9, 22.5)},
    ("cub200", 1): {"learned": (12.4, 13.7), "fixed": (7.8, 9.0)},
    ("cub200", 10): {"learned": (16.8, 16.1), "fixed": (4.8, 1.0)},
    ("imagenette", 1): {"learned": (48.1, 50.6), "fixed": (43.7, 46.8)},
    ("imagenette", 10): {"learned": (66.5, 67.1), "fixed": (64.1, 65.1)},
    ("imagewoof", 1): {"learned": (26.7, 31.3), "fixed": (29.7, 28.2)},
    ("imagewoof", 10): {"learned": (42.2, 43.5), "fixed": (41.7, 43.3)},
    ("imagenet", 1): {"learned": (7.5, 7.2), "fixed": (1.6, 1.1)},
    ("imagenet", 2): {"learned": (9.7, 9.5), "fixed": (2.0, 1.7)},
}
