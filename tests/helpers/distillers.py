"""Every distiller with options that make it quick; a new one is added here, and gets the tests of all contracts."""

from distill import (
    DM,
    DSA,
    KIP,
    MTT,
    NDPDC,
    Distiller,
    FRePo,
    Herding,
    HerdingTeacher,
    NoisyMeans,
    PrivateFRePo,
    Random,
    RandomTeacher,
)

DISTILLERS: list[Distiller] = [
    FRePo(steps=3, batch_size=20, pool_size=2, max_updates=2, width=4, depth=2),
    FRePo(steps=3, batch_size=20, pool_size=2, max_updates=2, width=4, depth=2, outer_loss="softmax", average=0.9,
          pool_updates=1.5),
    Random(),
    Herding(steps=3, batch_size=20, width=4, depth=2),
    RandomTeacher(steps=20, learning_rate=3e-2, batch_size=20, width=4, depth=2),
    HerdingTeacher(steps=20, learning_rate=3e-2, batch_size=20, width=4, depth=2),
    DM(steps=3, batch_size=8, width=4, depth=2),
    NoisyMeans(epsilon=1e5, public_preprocessing=True),
    NDPDC(steps=3, batch_size=20, width=4, depth=2, epsilon=1e5, public_preprocessing=True),
    PrivateFRePo(steps=3, batch_size=20, pool_size=2, max_updates=2, width=4, depth=2, epsilon=1e5,
                 public_preprocessing=True),  # hardly any noise, so that a few images suffice
    DSA(iterations=2, outer_loop=2, inner_loop=2, batch_size=8, width=4, depth=2),
    MTT(steps=3, learning_rate=10.0, student_steps=2, experts=2, latest_start=2, matched_epochs=1, expert_batch_size=8,
        width=4, depth=2),
    KIP(steps=3, batch_size=20),
]
