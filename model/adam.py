"""Adam for the weights of a population: torch's own fused step, with what is known of each weight.

`torch.optim.Adam` does the same, and is not used for what comes with it: the first optimizer that is made imports
torch's compiler (with sympy and ONNX: 2 s, and 70 MB of memory), and a worker makes one before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

#: Decay of the two moments, and what is added to the root of the second (Kingma & Ba 2015, arXiv 1412.6980).
BETAS, EPS = (0.9, 0.999), 1e-8

#: The names of the moments in a weight's state, as in `torch.optim.Adam`.
MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """Moves weights by lr · m̂ / (√v̂ + ε), with running means m of their slopes and v of the squares of these.

    Args:
        parameters: The weights.
        learning_rate: lr; may be set anew before any step.

    Attributes:
        state: By weight its number of `step`s and its `MOMENTS`; nothing of a weight that never had a slope.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move every weight that has a slope."""
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
        """Return the two moments of a weight; none where it had no slope yet."""
        state = self.state.get(parameter, {})
        return [state[name] for name in MOMENTS if name in state]

    def state_dict(self) -> dict[str, Any]:
        """Return what is known of each weight, by its place; as in the state of `torch.optim.Adam`."""
        return {"state": {n: dict(self.state[one]) for n, one in enumerate(self.parameters) if one in self.state}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over copies of what another one knew of weights in the same places; `torch.optim.Adam`'s as well."""
        self.state = {
            self.parameters[n]: {name: tensor.detach().clone() for name, tensor in known.items()}
            for n, known in state["state"].items()
        }
