"""Adam for the weights of a population: torch's own fused step, and the state of each weight.

`torch.optim.Adam` does the same. It is not used because the first optimizer that a process makes imports torch's
compiler (with sympy and ONNX: 2 s and 70 MB of memory), and every worker makes one at its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

#: Decay rates of the two moments, and ε added to the root of the second (Kingma & Ba 2015, arXiv 1412.6980).
BETAS, EPS = (0.9, 0.999), 1e-8

#: The names of the moments in a weight's state, as in `torch.optim.Adam`.
MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """Moves weights by lr · m̂ / (√v̂ + ε), where m and v are running means of the gradient and its square.

    Args:
        parameters: The weights.
        learning_rate: lr; may be changed before any step.

    Attributes:
        state: For each weight its number of `step`s and its `MOMENTS`. A weight that never had a gradient has no entry.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Update every weight that has a gradient."""
        moving = [parameter for parameter in self.parameters if parameter.grad is not None]
        states = [self.state.get(parameter) or self._begin(parameter) for parameter in moving]
        adam(
            moving,
            [parameter.grad for parameter in moving if parameter.grad is not None],
            [state[MOMENTS[0]] for state in states],
            [state[MOMENTS[1]] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=EPS,
            maximize=False,
        )

    def _begin(self, parameter: Tensor) -> dict[str, Tensor]:
        moments = {name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in MOMENTS}
        step = torch.zeros((), dtype=torch.float32, device=parameter.device)
        self.state[parameter] = {"step": step, **moments}
        return self.state[parameter]

    def moments(self, parameter: Tensor) -> list[Tensor]:
        """Return the two moments of a weight, or an empty list if it had no gradient yet."""
        state = self.state.get(parameter, {})
        return [state[name] for name in MOMENTS if name in state]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each weight by its index, in the format of `torch.optim.Adam`."""
        return {"state": {n: dict(self.state[one]) for n, one in enumerate(self.parameters) if one in self.state}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load copies of the state of another `Adam`, or of a `torch.optim.Adam`, for weights with the same indices."""
        self.state = {
            self.parameters[n]: {name: tensor.detach().clone() for name, tensor in known.items()}
            for n, known in state["state"].items()
        }
