"""A network with an exit head after each layer, on scikit-learn's digits: accuracy against multiply-accumulates."""

import torch
from sklearn.datasets import load_digits


def train(trial, hidden: int = 64, depth: int = 2, lr: float = 1e-2, epochs: int = 30):
    images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    layers = torch.nn.ModuleList(torch.nn.Linear(64 if at == 0 else hidden, hidden) for at in range(depth))
    heads = torch.nn.ModuleList(torch.nn.Linear(hidden, 10) for _ in range(depth))
    network = torch.nn.ModuleList([layers, heads])
    optimizer = torch.optim.Adam(network.parameters(), lr)
    if trial.state:  # the trial resumes after an interruption or a rung
        network.load_state_dict(trial.state["network"])
        optimizer.load_state_dict(trial.state["optimizer"])

    def readouts(x):
        for layer, head in zip(layers, heads, strict=True):
            x = layer(x).relu()
            yield head(x)

    for _ in trial.epochs(epochs):
        for batch in torch.randperm(1400).split(64):
            loss = sum(torch.nn.functional.cross_entropy(out, labels[batch]) for out in readouts(images[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            guesses = torch.stack([out.softmax(1) for out in readouts(images[1400:])])
        confident = guesses.max(2).values > 0.9  # an image exits at the first head that is sure, or the last
        confident[-1] = True
        left = confident.int().argmax(0)
        answers = guesses.argmax(2).gather(0, left[None])[0]
        macs = 64 * hidden + left.float().mean() * hidden**2 + (left.float().mean() + 1) * 10 * hidden
        trial.report(
            state={"network": network.state_dict(), "optimizer": optimizer.state_dict()},
            accuracy=(answers == labels[1400:]).float().mean(),
            macs=macs,
            energy=macs * 4.6e-3,  # 4.6 pJ for a multiply-accumulate of 32-bit floats in 45 nm (Horowitz, ISSCC 2014)
        )
