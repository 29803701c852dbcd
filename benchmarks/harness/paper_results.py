"""Results of Zhou et al. (2022) for comparison: accuracy in %, at other budgets, and cost, on another machine."""

__all__ = [
    "CLASS_INCREMENTAL", "MEMBERSHIP", "MEMBERSHIP_ATTACKS",
    "TABLE_1", "TABLE_2", "TABLE_7", "TABLE_8", "TABLE_9", "TABLE_10", "TABLE_11",
]

# Section 5.1: final accuracy over all classes by data set and steps, 20 images per class.
CLASS_INCREMENTAL = {("cifar100", 5): {"FRePo": 0.416, "DM": 0.339}, ("cifar100", 10): {"FRePo": 0.380, "DM": 0.340}}

# Table 1: by data set and images per class, networks trained on the set; "KRR": FRePo's own predictor. FRePo: 500 000
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

# Table 2: CIFAR-10, 10 images per class, by the network trained on the set, under the paper's names. "Conv": each
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

# Tables 8 and 9: milliseconds per step and GB of GPU memory by width, one image per class of CIFAR-100, batches of 256
# (per class, for DSA and DM), dataset condensation's network; DSA with one update and one pass, MTT with 15 steps. On
# an Nvidia Quadro RTX 6000, FRePo in JAX, the others in PyTorch.
TABLE_8: dict[int, dict[str, float]] = {
    16: {"DSA": 1764.3, "DM": 569.1, "MTT": 206.2, "FRePo": 7.7},
    32: {"DSA": 1742.2, "DM": 573.5, "MTT": 268.6, "FRePo": 6.9},
    64: {"DSA": 2014.6, "DM": 669.8, "MTT": 299.9, "FRePo": 8.5},
    128: {"DSA": 2583.5, "DM": 950.6, "MTT": 485.6, "FRePo": 10.9},
    256: {"DSA": 4909.8, "DM": 1569.2, "MTT": 939.6, "FRePo": 20.8},
    512: {"DSA": 8764.6, "DM": 3209.5, "MTT": 2153.6, "FRePo": 52.5},
}
TABLE_9: dict[int, dict[str, float]] = {
    16: {"DSA": 0.800, "DM": 0.678, "MTT": 0.650, "FRePo": 0.036},
    32: {"DSA": 0.986, "DM": 0.714, "MTT": 1.260, "FRePo": 0.086},
    64: {"DSA": 1.488, "DM": 0.888, "MTT": 2.462, "FRePo": 0.178},
    128: {"DSA": 2.014, "DM": 1.164, "MTT": 4.858, "FRePo": 0.387},
    256: {"DSA": 4.594, "DM": 1.718, "MTT": 9.790, "FRePo": 0.814},
    512: {"DSA": 10.768, "DM": 2.970, "MTT": 19.110, "FRePo": 2.080},
}
# Tables 10 and 11: the same by number of distilled images. The width is not stated; the memory at 100 images is that of
# width 64 in Table 9. MTT ran out of memory.
TABLE_10: dict[int, dict[str, float]] = {
    100: {"DSA": 2051.8, "DM": 649.4, "MTT": 302.8, "FRePo": 10.9},
    200: {"DSA": 2073.4, "DM": 662.9, "MTT": 575.0, "FRePo": 9.6},
    400: {"DSA": 1928.6, "DM": 681.4, "MTT": 1077.5, "FRePo": 16.2},
    800: {"DSA": 1952.5, "DM": 722.7, "MTT": 2169.1, "FRePo": 23.4},
    1600: {"DSA": 1977.4, "DM": 747.2, "FRePo": 35.3},
    3200: {"DSA": 2233.8, "DM": 727.3, "FRePo": 59.6},
    6400: {"DSA": 2467.8, "DM": 874.2, "FRePo": 123.2},
}
TABLE_11: dict[int, dict[str, float]] = {
    100: {"DSA": 1.488, "DM": 0.888, "MTT": 2.464, "FRePo": 0.178},
    200: {"DSA": 1.644, "DM": 0.964, "MTT": 4.848, "FRePo": 0.308},
    400: {"DSA": 1.916, "DM": 1.116, "MTT": 9.662, "FRePo": 0.563},
    800: {"DSA": 2.558, "DM": 1.464, "MTT": 19.700, "FRePo": 0.721},
    1600: {"DSA": 3.776, "DM": 2.076, "FRePo": 1.210},
    3200: {"DSA": 6.056, "DM": 3.412, "FRePo": 2.380},
    6400: {"DSA": 10.482, "DM": 6.060, "FRePo": 4.740},
}

# Tables 4 and 6: by data set, test accuracy in %, and AUC of threshold, lr, mlp, rf, knn (mean of five member sets).
MEMBERSHIP_ATTACKS = ("threshold", "lr", "mlp", "rf", "knn")
MEMBERSHIP: dict[str, dict[str, tuple[float, ...]]] = {
    "mnist": {
        "real": (99.2, 0.99, 0.99, 1.00, 1.00, 0.97),
        "subset": (96.8, 0.52, 0.50, 0.53, 0.55, 0.54),
        "frepo": (98.5, 0.52, 0.51, 0.53, 0.52, 0.51),
        "dm": (98.3, 0.50, 0.51, 0.54, 0.54, 0.53),
        "dsa": (98.5, 0.50, 0.51, 0.54, 0.54, 0.54),
    },
    "fmnist": {
        "real": (89.7, 0.99, 0.99, 0.99, 0.99, 0.98),
        "subset": (81.1, 0.53, 0.51, 0.52, 0.52, 0.53),
        "frepo": (87.6, 0.52, 0.53, 0.53, 0.53, 0.52),
        "dm": (87.3, 0.52, 0.51, 0.50, 0.52, 0.51),
        "dsa": (87.0, 0.51, 0.51, 0.51, 0.52, 0.51),
    },
}
