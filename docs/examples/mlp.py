"""The training in the sweeps of `coming-from.md`: a small network on scikit-learn's digits."""

import torch
from sklearn.datasets import load_digits

IMAGES, LABELS = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
IMAGES = IMAGES.float() / 16


def network_of(hidden, lr):
    """Return a network and its optimizer."""
    network = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))
    return network, torch.optim.Adam(network.parameters(), lr)


def train_one_epoch(network, optimizer):
    for batch in torch.randperm(1400).split(64):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(IMAGES[batch]), LABELS[batch]).backward()
        optimizer.step()


def accuracy_of(network):
    with torch.no_grad():
        return (network(IMAGES[1400:]).argmax(1) == LABELS[1400:]).float().mean().item()


def size_of(network):
    return sum(one.numel() for one in network.parameters())
