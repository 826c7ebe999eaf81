"""The training of peers.py under Syne Tune's local backend, which starts this file again for every trial.

peers.py runs it with an interpreter that has Syne Tune. It resumes as in Syne Tune's example: load_experiment with
load_tuner, then run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from peer_training import Training


def train(words: list[str]) -> None:
    """Train one trial as the backend starts it: the command holds the setting, the output the last report."""
    from syne_tune import Reporter

    parser = argparse.ArgumentParser()
    for name, kind in [("x", float), ("y", float), ("seconds", float), ("epochs", int), ("log", str)]:
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--st_checkpoint_dir")
    args, _ = parser.parse_known_args(words)
    report, first = Reporter(), 0
    training = Training(args.x, args.y, args.seconds, args.epochs, args.log)
    kept = Path(args.st_checkpoint_dir, "state.npz")
    kept.parent.mkdir(parents=True, exist_ok=True)
    if kept.exists():
        first = training.load(kept)
    for epoch in range(first, args.epochs):
        loss = training.epoch(epoch)
        training.save(kept, epoch + 1)
        report(epoch=epoch + 1, loss=loss)
    training.done()


def main() -> None:
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import uniform
    from syne_tune.experiments import load_experiment
    from syne_tune.optimizer.baselines import RandomSearch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--given", required=True, help="what peers.py says, as JSON")
    parser.add_argument("--again", action="store_true", help="go on with what was interrupted")
    args = parser.parse_args()
    given = json.loads(args.given)
    tuner = load_experiment("peers", load_tuner=True).tuner if args.again else None
    if tuner is None:  # if nothing was saved yet, it begins again in a new folder
        space = {"x": uniform(0, 1), "y": uniform(0, 1), **given["constants"]}
        tuner = Tuner(
            trial_backend=LocalBackend(entry_point=__file__),
            scheduler=RandomSearch(space, metrics=["loss"]),
            stop_criterion=StoppingCriterion(max_num_trials_completed=given["trials"] - 1),  # stops when it has more
            n_workers=given["workers"],
            sleep_time=0.1,  # the default of 5 s would dominate a short training
            wait_trial_completion_when_stopping=True,
            tuner_name="peers-anew" if args.again else "peers",
            suffix_tuner_name=False,
        )
    tuner.run()
    results = tuner.tuning_status.get_dataframe()
    rows = []
    for row in results.to_dict("records"):
        is_complete = row.get("epoch") == given["constants"]["epochs"]
        state = "complete" if is_complete else str(row["status"]).lower().removeprefix("status.")
        rows.append({"x": row["x"], "y": row["y"], "state": state, "loss": row.get("loss")})
    Path(given["folder"], "records.json").write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    if "--st_checkpoint_dir" in sys.argv:
        train(sys.argv[1:])
    else:
        main()
