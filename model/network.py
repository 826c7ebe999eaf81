"""One trained network, for use outside of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.model.errors import WindowError
from sweeper.model.halting import HaltedAnswer, halted
from sweeper.model.lattice import Lattice
from sweeper.model.lesions import lesioned, named_parts
from sweeper.model.window import Window


@dataclass(frozen=True)
class NetworkAnswer:
    """Answers of all steps of a network to a batch. `torch.export` knows this class once this module is imported.

    Attributes:
        log_probs: Log of the mixture Σ_t p(t|x) softmax(z[t]), which needs every step; shape (B, K).
        expected_steps: Σ_t t · p(t|x), in steps; shape (B,).
        step_dist: Probability p(t|x) of answering after exactly step t; shape (B, T), rows sum to 1.
        logits: The instantaneous readout z[t] of each step; shape (B, T, K).
    """

    log_probs: Tensor
    expected_steps: Tensor
    step_dist: Tensor
    logits: Tensor


# A named tuple could be exported, but not saved by `torch.export.save`.
torch.export.register_dataclass(NetworkAnswer, serialized_type_name="sweeper.NetworkAnswer")


class Network(nn.Module):
    """One network without the population axis.

    Args:
        lattice: A population of one, such as `cut` returns.
        description: Facts about the network: plain values by name.

    Attributes:
        window: The network's shape, and the shape of its images.
        description: As given.

    Raises:
        WindowError: If the population has more than one network.
    """

    def __init__(self, lattice: Lattice, description: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if lattice.population != 1:
            raise WindowError(
                f"a network is one member of a population, but got {lattice.population} members. "
                "Take one with `cut(lattice, member)`."
            )
        self.lattice = lattice
        self.description = dict(description or {})

    @property
    def window(self) -> Window:
        """The network's shape, and the shape of its images."""
        return self.lattice.window

    def forward(self, images: Tensor) -> NetworkAnswer:
        """Run every step of the window for every image, for training and for studies of single steps.

        Args:
            images: Shape (B, C, H, W) of the window's size, of the weights' type; pixels from 0 to 1, plus the noise
                of the task if it has any.

        Raises:
            WindowError: If the images have another shape or type.
        """
        self._check(images)
        answer = self.lattice(images)
        return NetworkAnswer(
            log_probs=answer.log_probs_BPK[:, 0],
            expected_steps=answer.expected_steps_BP[:, 0],
            step_dist=answer.step_dist_TBP[..., 0].T,
            logits=answer.logits_TBPK[:, :, 0].transpose(0, 1),
        )

    def halting(self, images: Tensor) -> HaltedAnswer:
        """Run each image until it halts by the network's own rule, and compute no further steps for it.

        An image halts at the first step at which the cumulated probability of its step distribution reaches ½, and is
        answered with that step's readout. The measurements `accuracy`, `time` and `macs` describe this use. Gradients
        are not computed.

        Args:
            images: As for a call of the network.

        Raises:
            WindowError: If the images have another shape or type.
        """
        self._check(images)
        return halted(self.lattice, images)

    def without(self, parts: str) -> Network:
        """Return a copy without some of its parts, which shows what the parts were for.

        Parts that the network does not have are ignored, except layers beyond its depth.

        Args:
            parts: `lateral` (connections of layers to themselves), `top-down` (connections to the layer below),
                `deepest` or `layer:N`, from 1 at the image; or several of these joined by commas.

        Returns:
            A network with the same description, whose measurements describe the whole network; its entry `lesion` names
            the removed parts.

        Raises:
            LesionError: If there is no such part, or the network has no layer of that number.
        """
        named = named_parts(parts, self.window.layers)
        before = [part for part in [self.description.get("lesion")] if part]
        lesion = ",".join(sorted({*",".join(before).split(","), *named} - {""}))
        return Network(lesioned(self.lattice, named), {**self.description, "lesion": lesion}).train(self.training)

    def _check(self, images: Tensor) -> None:
        expected, weights = self.window.image, self.lattice.readout_bias
        if images.dim() != 4 or tuple(images.shape[1:]) != expected:
            size = ", ".join(str(side) for side in expected)
            raise WindowError(
                f"the network is made for images of shape (batch, {size}): batch, channels, height, width; "
                f"but got {tuple(images.shape)}"
            )
        if images.dtype != weights.dtype:
            raise WindowError(
                f"the network takes pixels from 0 to 1 as {weights.dtype}, but got {images.dtype}. "
                f"Convert them with `.to({weights.dtype})`, and divide by 255 where they go from 0 to 255."
            )
