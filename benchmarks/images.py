"""Measures the cost of large images: the time of `sweeper plan`, and the total memory of all processes that load them.

The images are made up: 64 × 64 in colour, 100 classes, as PNG in the shards of a `datasets` folder. A process's memory
is its proportional set size, which divides shared pages among the processes that map them.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lattice import hardware
from PIL import Image

SIDE, CLASSES, SHARDS = 64, 100, 8

SPEC = """name: large
task: {{data: {data}}}
lattice: {{channels: 4, layers: 2, steps: 2}}
parameters: {{breadth_pressure: {{values: [0, 1e-3]}}}}
training: {{epochs: 2, epoch_images: 1000}}
objectives: [{{name: accuracy, goal: maximize}}, {{name: breadth, goal: minimize}}]
reference_point: {{accuracy: 0, breadth: 5}}
"""


def write_images(folder: Path, count: int) -> int:
    """Write images of blurred colours, a hue for each class, and return the bytes of their files."""
    rng = np.random.default_rng(0)
    names = [f"class {number}" for number in range(CLASSES)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for shard in range(SHARDS):
        labels = rng.integers(0, CLASSES, count // SHARDS)
        values = []
        for label in labels.tolist():
            small = np.clip(rng.integers(0, 160, (8, 8, 3)) + np.array([label, (7 * label) % 96, 96 - label]), 0, 255)
            image = Image.fromarray(small.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            file = io.BytesIO()
            image.save(file, "PNG", compress_level=1)
            values.append({"bytes": file.getvalue(), "path": None})
        table = pa.table({"image": values, "label": labels}).replace_schema_metadata(metadata)
        pq.write_table(table, folder / f"train-{shard:05d}-of-{SHARDS:05d}.parquet", row_group_size=1000)
    return sum(path.stat().st_size for path in folder.iterdir())


def memory_bytes() -> tuple[int, int]:
    """Return this process's proportional set size, and its peak resident memory, in bytes."""
    sizes = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(sizes["Pss"].split()[0]) * 1024, int(status["VmHWM"].split()[0]) * 1024


def load(data: str, cache: str, begin: Barrier, loaded: Barrier, answers: Any) -> None:
    """Load the images in this process, read all pixels once, and report time and memory."""
    from sweeper.model import TaskDefinition, load_task
    from sweeper.model.images import levels_of

    begin.wait()
    before, _ = memory_bytes()
    started = time.perf_counter()
    task = load_task(TaskDefinition(data=data), Path(cache))
    seconds = time.perf_counter() - started
    pixels = 0
    for images in (task.train, task.validation, task.test):
        levels_of(images.pixels.numpy())  # touches every page
        pixels += images.pixels.numel()
    loaded.wait()
    after, most = memory_bytes()
    answers.put({"seconds": seconds, "bytes": after - before, "most": most - before, "pixels": pixels})
    loaded.wait()  # until all processes have measured


def together(data: str, cache: Path, workers: int) -> list[dict[str, float]]:
    """Load the images in several processes at once."""
    context = multiprocessing.get_context("spawn")
    begin, loaded, answers = context.Barrier(workers), context.Barrier(workers), context.Queue()
    arguments = (data, str(cache), begin, loaded, answers)
    processes = [context.Process(target=load, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    found = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def plan(folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Run `sweeper plan` and return its seconds of wall time and of processor time."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-P", "-m", "sweeper", "plan", str(folder / "large.yaml"), "--workers", "2"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def main() -> None:
    """Print a table of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--folder", type=Path, help="where images are, or are written once; default: a temporary one")
    chosen = parser.parse_args()
    root = chosen.folder or Path(tempfile.mkdtemp(prefix="sweeper-images-"))
    data, cache = root / "data", root / "cache"
    if not data.is_dir():
        data.mkdir(parents=True)
        write_images(data, chosen.images)
    (root / "large.yaml").write_text(SPEC.format(data=data))
    environment = {**os.environ, "SWEEPER_CACHE": str(cache)}
    shutil.rmtree(cache, ignore_errors=True)
    time.sleep(max(0.0, 2.5 - (time.time() - max(path.stat().st_ctime for path in data.iterdir()))))
    try:
        print(f"{hardware('cpu')}, load before {os.getloadavg()[0]:.1f}\n")
        print("| what | seconds | of processors | memory of all, bytes a pixel | most of one, bytes a pixel |")
        print("|---|---:|---:|---:|---:|")
        for how in (", nothing kept", " again"):
            seconds, used = plan(root, environment)
            print(f"| `sweeper plan`{how} | {seconds:.1f} | {used:.1f} | | |", flush=True)
        for workers in chosen.workers:
            for is_kept in (False, True):
                if not is_kept:
                    shutil.rmtree(cache, ignore_errors=True)
                found = together(str(data), cache / "images", workers)
                pixels = found[0]["pixels"]
                whole = sum(one["bytes"] for one in found) / pixels
                most = max(one["most"] for one in found) / pixels
                seconds = max(one["seconds"] for one in found)
                how = "kept" if is_kept else "nothing kept"
                print(f"| {workers} processes load, {how} | {seconds:.1f} | | {whole:.2f} | {most:.2f} |", flush=True)
    finally:
        if chosen.folder is None:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
