"""How hard a task is, measured without any of the networks that are swept: what simple learners get wrong.

Two of them, both scikit-learn's: multinomial logistic regression on the pixels, which sees where there is ink, and the
nearest neighbour, which has seen similar images. Tasks of different kinds can be ordered by them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sweeper.model.degradations import degraded
from sweeper.model.images import Images, as_floats
from sweeper.model.tasks import Task

#: Training images that they learn from at most: beyond, they take longer than the networks.
MOST_IMAGES = 10_000

#: The stream that says which images and which degradations of them are learned from.
_STREAM = 4

#: Passes of the regression's solver; on real images it has long been near its end.
_ITERATIONS = 300


def complexity(task: Task) -> Mapping[str, float]:
    """Return the shares of test images that simple learners get wrong.

    Args:
        task: Learned from are up to 10,000 of its training images, degraded once as the task says.

    Returns:
        `regression`, the error of a multinomial regression on standardised pixels, and `neighbour`, that of the nearest
        neighbour by Euclidean distance.
    """
    # Here, so that nothing else waits for it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(_STREAM)
    chosen = np.sort(rng.permutation(len(task.train))[:MOST_IMAGES])
    pixels = degraded(as_floats(task.train.pixels[chosen].numpy()), task.degradations, rng)
    learned, labels = pixels.reshape(len(pixels), -1), task.train.labels[chosen].numpy()
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
    neighbour = KNeighborsClassifier(1, algorithm="brute")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return {
            name: _error(learner.fit(learned, labels).predict(_flat(task.test)), task.test)
            for name, learner in (("regression", regression), ("neighbour", neighbour))
        }


def _flat(images: Images) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = images.shown().numpy().reshape(len(images), -1)
    return flat


def _error(answers: NDArray[np.int64], images: Images) -> float:
    return float(np.mean(answers != images.labels.numpy()))
