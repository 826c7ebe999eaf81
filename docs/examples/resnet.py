"""A plain residual network on images of CIFAR-10's size: accuracy against latency and energy."""

import io
import time

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = (
            nn.Conv2d(before, after, 1, stride, bias=False) if stride > 1 or before != after else nn.Identity()
        )

    def forward(self, x):
        return (self.second(self.first(x)) + self.shortcut(x)).relu()


def resnet(width, blocks):
    """Return a network of three stages; each stage after the first halves the image and doubles the channels."""
    stages = [nn.Conv2d(3, width, 3, padding=1)]
    channels = width
    for stage in range(3):
        for block in range(blocks):
            stages.append(Block(channels, width * 2**stage, 2 if stage and not block else 1))
            channels = width * 2**stage
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def multiply_accumulates(network, image):
    """Return the number of multiply-accumulates of an image in convolutions and linear layers."""
    counted = []

    def count(layer, inputs, output):
        counted.append(layer.weight[0].numel() * output[0].numel())

    hooks = [one.register_forward_hook(count) for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    network(image)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def images_of(file, first, last):
    """Return images and labels of rows of a Parquet file in the layout of the Hugging Face hub."""
    rows = pq.read_table(file).slice(first, last - first)
    pictures = [np.asarray(Image.open(io.BytesIO(one["bytes"]))) for one in rows["image"].to_pylist()]
    return torch.as_tensor(np.stack(pictures)).permute(0, 3, 1, 2) / 255.0, torch.as_tensor(rows["label"].to_numpy())


def train(trial, data: str, width: int = 8, blocks: int = 1, lr: float = 0.05, images: int = 2000, epochs: int = 5):
    x, y = images_of(data, 0, images)
    held_x, held_y = images_of(data, images, images + 500)
    network = resnet(width, blocks).to(trial.device)
    optimizer = torch.optim.SGD(network.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    if trial.state:
        network.load_state_dict(trial.state["network"])
        optimizer.load_state_dict(trial.state["optimizer"])
    for _ in trial.epochs(epochs):
        network.train()
        for batch in torch.randperm(images).split(64):
            loss = nn.functional.cross_entropy(network(x[batch].to(trial.device)), y[batch].to(trial.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            accuracy = (network(held_x.to(trial.device)).argmax(1).cpu() == held_y).float().mean()
            one, times = held_x[:1].to(trial.device), []
            for _ in range(20):
                begun = time.perf_counter()
                network(one)
                times.append(time.perf_counter() - begun)
            macs = multiply_accumulates(network, one)
        trial.report(
            state={"network": network.state_dict(), "optimizer": optimizer.state_dict()},
            accuracy=accuracy,
            latency=1000 * min(times),
            energy=macs * 4.6e-6,  # 4.6 pJ for a multiply-accumulate of 32-bit floats in 45 nm (Horowitz, ISSCC 2014)
        )
