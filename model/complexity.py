"""Difficulty of a task, measured without the swept networks: the errors of two simple learners.

The learners are scikit-learn's multinomial logistic regression on the pixels, which sees where there is ink, and its
nearest neighbour, which compares with similar images. Tasks of different kinds can be ordered by their errors.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sweeper.model.degradations import degraded
from sweeper.model.images import Images, as_floats
from sweeper.model.tasks import Task

#: Most training images that the learners see: with more they take longer than the networks.
MOST_IMAGES = 10_000

#: Random stream that draws the training images and their degradations.
_STREAM = 4

#: Most iterations of the regression's solver; on real images it is close to its optimum well before.
_ITERATIONS = 300


def complexity(task: Task) -> Mapping[str, float]:
    """Return the shares of test images that simple learners get wrong.

    Args:
        task: The learners see up to 10,000 of its training images, degraded once as the task says.

    Returns:
        `regression`, the error of a multinomial regression on standardised pixels, and `neighbour`, that of the nearest
        neighbour by Euclidean distance.
    """
    # Imported here, because importing scikit-learn is slow.
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
