"""A measure of your own: the accuracy of a trained network on images with noise that it was not trained on."""

import torch
from torch import Tensor

from sweeper.model import Network, Task


def robustness(network: Network, task: Task) -> Tensor:
    """Return the accuracy on validation images with noise of standard deviation 0.3 on each pixel."""
    images = task.validation.shown()  # (images, channels, height, width), from 0 to 1
    noisy = images + 0.3 * torch.randn(images.shape)
    answer = network.halting(noisy)
    return (answer.log_probs.argmax(1) == task.validation.labels).double().mean()
