"""Kinds of damage to a stored home: each one changes a copy of the home, and says which commands must notice.

The sweep `small` is damaged; the sweep `other` beside it is whole, and its files replace files of `small`.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.sealed import sealed

#: Optuna's tables without which a ledger cannot be read.
NEEDED = ("studies", "study_user_attributes", "trials", "trial_user_attributes", "trial_values", "version_info")


# --- damage to a file ------------------------------------------------------------------------------


def cut(size):
    return lambda file: file.write_bytes(file.read_bytes()[:size])


def half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwritten(start, count):
    def damage(file):
        content = bytearray(file.read_bytes())
        content[start : start + count] = random.Random(start).randbytes(count)
        file.write_bytes(content)

    return damage


def other_content(content):
    return lambda file: file.write_bytes(content)


def folder_in_its_place(file):
    file.unlink()
    file.mkdir()


def removed(file):
    file.unlink()


def flipped(seed):
    """Return a function that flips one bit of a file; the seed chooses the bit."""

    def damage(file):
        content = bytearray(file.read_bytes())
        draw = random.Random(f"{seed} {len(content)}")
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)

    return damage


def link_to_nowhere(file):
    file.unlink()
    file.symlink_to(file.with_name("nowhere"))


def without_a_column(file):
    """Remove a column that all of our Parquet files have, and seal the file with a right digest."""
    table = pq.read_table(io.BytesIO(file.read_bytes()))
    name = "key" if "key" in table.column_names else table.column_names[0]
    file.write_bytes(sealed(table.drop_columns([name]).replace_schema_metadata(_own(table))))


def words_for_numbers(file):
    """Fill every column of one of our Parquet files with words, and seal the file with a right digest."""
    table = pq.read_table(io.BytesIO(file.read_bytes()))
    words = pa.table({name: ["x"] * table.num_rows for name in table.column_names})
    file.write_bytes(sealed(words.replace_schema_metadata(_own(table))))


def _own(table):
    known = table.schema.metadata or {}
    return {name: text for name, text in known.items() if name != b"sweeper.sha256"}


def table_of_something_else(file):
    sink = io.BytesIO()
    pq.write_table(pa.table({"passengers": [3, 4]}), sink)
    file.write_bytes(sink.getvalue())


# --- damage to a database --------------------------------------------------------------------------


def sql(statement, *values):
    def damage(file):
        with closing(sqlite3.connect(file)) as database, database:
            assert database.execute(statement, values).rowcount != 0

    return damage


def without_table(name):
    def damage(file):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(f"DROP TABLE {name}")

    return damage


def attribute(name, value):
    """Return a function that replaces an attribute of the first row that has it."""
    return sql(
        "UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = "
        "(SELECT min(trial_user_attribute_id) FROM trial_user_attributes WHERE key = ?)",
        value,
        name,
    )


def noted(name, value):
    return sql("UPDATE study_user_attributes SET value_json = ? WHERE key = ?", value, name)


def part_of(attribute_name, change):
    """Return a function that changes a part of an attribute of the first row that has it."""

    def damage(file):
        with closing(sqlite3.connect(file)) as database, database:
            row, text = database.execute(
                "SELECT trial_user_attribute_id, value_json FROM trial_user_attributes WHERE key = ? LIMIT 1",
                (attribute_name,),
            ).fetchone()
            value = json.loads(text)
            change(value)
            database.execute(
                "UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = ?",
                (json.dumps(value), row),
            )

    return damage


def part_of_plan(change):
    return part_of("plan", change)


#: Damage that makes the whole ledger unreadable.
OF_THE_FILE = {
    "empty": cut(0),
    "one byte": cut(1),
    "half its head": cut(8),
    "a hundred bytes": cut(100),
    "one page": cut(4096),
    "half": half,
    "head overwritten": overwritten(0, 16),
    "first page overwritten": overwritten(16, 4000),
    "zeros": other_content(bytes(8192)),
    "text": other_content(b"this is no ledger\n" * 100),
    "another database": other_content(b"SQLite format 3\0" + bytes(4080)),
    "a folder": folder_in_its_place,
    **{f"without {name}": without_table(name) for name in NEEDED},
}

#: Damage that makes one row, or the sweep's notes, unreadable.
OF_A_ROW = {
    "torn plan": attribute("plan", '{"key": "0123'),
    "plan of another kind": attribute("plan", "5"),
    "plan of nothing": attribute("plan", "null"),
    "plan of a list": attribute("plan", "[]"),
    "empty plan": attribute("plan", "{}"),
    "torn outcome": attribute("ended", '{"outcome": "compl'),
    "outcome of another kind": attribute("ended", "5"),
    "unknown outcome": attribute("ended", '{"outcome": "finished"}'),
    "outcome without its name": attribute("ended", '{"reason": ""}'),
    "torn claim": attribute("claim", '{"attempt'),
    "claim of another kind": attribute("claim", "[1]"),
    "plan without a setting": part_of_plan(lambda plan: plan.pop("setting")),
    "setting of another kind": part_of_plan(lambda plan: plan.update(setting="none")),
    "setting with a word for a number": part_of_plan(lambda plan: plan["setting"].update(seed="one")),
    "plan without axes": part_of_plan(lambda plan: plan.pop("axes")),
    "plan without a population": part_of_plan(lambda plan: plan.pop("population")),
    "plan without a key": part_of_plan(lambda plan: plan.pop("key")),
    "torn revisions": noted("revisions", '[{"spec": "'),
    "revisions of another kind": noted("revisions", '"none"'),
    "revision without a spec": noted("revisions", '[{"text": ""}]'),
    "revision with a torn spec": noted(
        "revisions", '[{"spec": "{", "text": "", "path": "", "population_size": 1, "facts": {}}]'
    ),
}

#: Further damage to rows.
OF_A_ROW_TOO = {
    "measurement with a word for a number": part_of("ended", lambda ended: ended["measurement"].update(accuracy="x")),
    "measurement of another kind": part_of("ended", lambda ended: ended.update(measurement=[1])),
    "measurement without an objective": part_of("ended", lambda ended: ended["measurement"].pop("accuracy")),
    "curve of another kind": part_of("ended", lambda ended: ended.update(curve="none")),
    "torn knowledge": noted("knowledge", '{"a'),
    "knowledge of another kind": noted("knowledge", "[1]"),
    "plan with another key": part_of_plan(lambda plan: plan.update(key="0123456789abcdef")),
    "a row that is gone": sql("DELETE FROM trials WHERE trial_id = (SELECT min(trial_id) FROM trials)"),
    "a plan that is gone": sql("DELETE FROM trial_user_attributes WHERE key = 'plan' AND trial_id = 1"),
    "an outcome that is gone": sql("DELETE FROM trial_user_attributes WHERE key = 'ended' AND trial_id = 1"),
    "a state that nobody knows": sql("UPDATE trials SET state = 'ENDED' WHERE trial_id = 1"),
    "a number that is another one": sql("UPDATE trial_values SET value = value / 2 + 1 WHERE trial_id = 1"),
    "a study that is gone": sql("DELETE FROM studies"),
}


# --- the whole home --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        store: Name of the damaged store; kinds are counted by store.
        name: Description of the kind.
        do: Damages a home.
        is_audited: Whether `sweeper audit` must report it.
        forgets: Whether nothing is left that shows that there was a sweep.
    """

    store: str
    name: str
    do: Callable[[Path], None]
    is_audited: bool = True
    forgets: bool = False

    def __str__(self):
        return f"{self.store} {self.name}".replace(" ", "_")


def run_of(home, name="small"):
    """Return the artifacts' folder of a sweep's run."""
    (folder,) = (home / "artifacts" / name).glob("*/artifacts")
    return folder


def one_of(home, name, below, pattern, number=0):
    """Return a file of a sweep, from its artifacts or its folder; files of trials with a stored network come first."""
    root = run_of(home, name) if below == "artifacts" else home / name
    stored = {file.stem for file in run_of(home, name).glob("networks/*")}
    return sorted(root.glob(pattern), key=lambda file: (file.stem not in stored, file))[number]


#: Damage to any file.
TO_A_FILE = {
    "missing": removed,
    "empty": cut(0),
    "cut short": half,
    "without its last byte": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "with one bit flipped": flipped(1),
    "with another bit flipped": flipped(2),
    "of zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "of text": other_content(b"this is something else\n" * 20),
    "a folder": folder_in_its_place,
    "a link to nowhere": link_to_nowhere,
}

#: Further damage to one of our tables.
TO_A_TABLE = {
    "without a column": without_a_column,
    "of words for numbers": words_for_numbers,
    "of something else": table_of_something_else,
}


def _at(below, pattern, change, number=0):
    return lambda home: change(one_of(home, "small", below, pattern, number))


def _another(below, pattern, name="other", number=0):
    """Return a function that replaces the first file by one of another sweep, or by another one of the same sweep."""
    return lambda home: shutil.copyfile(
        one_of(home, name, below, pattern, number), one_of(home, "small", below, pattern)
    )


def _of_files(store, below, pattern, changes, number=0, **more):
    return [Damage(store, name, _at(below, pattern, change, number), **more) for name, change in changes.items()]


_FRONT, _CHOSEN, _TRIALS = (
    "fronts/digits-2*/v*.parquet",
    "fronts/digits-2*/accuracy/time/v*.parquet",
    "trials/*.parquet",
)
_NETWORK, _PROBES = "networks/*.safetensors", "probes/*.parquet"


def _in_mlflow(change):
    return lambda home: change(home / "mlflow.db")


_SWEEPS_RUN = "(SELECT run_uuid FROM tags WHERE key = 'sweeper.kind' AND value = 'sweep' INTERSECT " \
              "SELECT run_uuid FROM tags WHERE key = 'sweeper.sweep' AND value = 'small')"  # fmt: skip
_TRIALS_RUN = "(SELECT min(t.run_uuid) FROM tags t JOIN runs r USING (run_uuid) WHERE t.key = 'sweeper.trial_key' " \
              "AND r.experiment_id = 1)"  # fmt: skip


def _tag(name, value):
    return _in_mlflow(sql(f"UPDATE tags SET value = ? WHERE key = ? AND run_uuid = {_SWEEPS_RUN}", value, name))


def _no_tag(name):
    return _in_mlflow(sql(f"DELETE FROM tags WHERE key = ? AND run_uuid = {_SWEEPS_RUN}", name))


_MARK = "sweeper.front.digits-2-train200-validation60-test30"


def _other_mark(home):
    """Make one front's mark name the file of another front."""
    other = _MARK.replace("-2-", "-3-")
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        text = f"SELECT value FROM tags WHERE key = '{other}' AND run_uuid = {_SWEEPS_RUN}"
        database.execute(f"UPDATE tags SET value = ({text}) WHERE key = '{_MARK}' AND run_uuid = {_SWEEPS_RUN}")


def _mark_of(**changes):
    def damage(home):
        with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
            (text,) = database.execute(
                f"SELECT value FROM tags WHERE key = '{_MARK}' AND run_uuid = {_SWEEPS_RUN}"
            ).fetchone()
            database.execute(
                f"UPDATE tags SET value = ? WHERE key = '{_MARK}' AND run_uuid = {_SWEEPS_RUN}",
                (json.dumps({**json.loads(text), **changes}),),
            )

    return damage


_TAGS = {
    f"{name} {how}": change
    for name in ("sweeper.aims", "sweeper.trials", "sweeper.live", "sweeper.closed", _MARK)
    for how, change in {
        "gone": _no_tag(name),
        "torn": _tag(name, '{"path": "fro'),
        "of another kind": _tag(name, "5"),
        "of a list": _tag(name, "[1, 2]"),
        "of nothing": _tag(name, "{}"),
    }.items()
}

IN_MLFLOW = {
    **{f"database {name}": _in_mlflow(change) for name, change in TO_A_FILE.items() if "bit" not in name},
    "database without its head": _in_mlflow(overwritten(0, 16)),
    "database of one page": _in_mlflow(cut(4096)),
    "database that is a ledger": lambda home: shutil.copyfile(home / "other/ledger.db", home / "mlflow.db"),
    **{
        f"database without {name}": _in_mlflow(without_table(name))
        for name in ("experiments", "experiment_tags", "runs", "tags", "alembic_version", "metrics", "latest_metrics",
                     "params")
    },
    "database of another version": _in_mlflow(sql("UPDATE alembic_version SET version_num = 'ffffffffffff'")),
    **_TAGS,
    "mark that names another front": _other_mark,
    "mark that names no file": _mark_of(path="fronts/nowhere.parquet"),
    "mark that leads out": _mark_of(path="../../../../../small.yaml"),
    "mark with a word for a number": _mark_of(points="two", hypervolume="much"),
    "mark of another version": _mark_of(version=7),
    "trials that name another file": _tag("sweeper.trials", '{"written": 2, "parts": [["spec.yaml", 8]]}'),
    "trials that name no file": _tag("sweeper.trials", '{"written": 2, "parts": [["trials/9.parquet", 8]]}'),
    "trials that name fewer": _tag("sweeper.trials", '{"written": 2, "parts": [["trials/00001.parquet", 8]]}'),
    "kind of the sweep's run gone": _no_tag("sweeper.kind"),
    "digest of the spec another one": _tag("sweeper.sha256.spec", "0" * 64),
    "identity another one": _tag("sweeper.identity", "0" * 32),
    "experiment deleted": _in_mlflow(sql("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 1")),
    "experiment renamed": _in_mlflow(sql("UPDATE experiments SET name = 'mine' WHERE experiment_id = 1")),
    "experiment's tag gone": _in_mlflow(sql("DELETE FROM experiment_tags WHERE experiment_id = 1")),
    "experiment's tag another one": _in_mlflow(
        sql("UPDATE experiment_tags SET value = 'other' WHERE experiment_id = 1 AND key = 'sweeper.sweep'")
    ),
    "sweep's run deleted": _in_mlflow(
        sql(f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = {_SWEEPS_RUN}")
    ),
    "sweep's run of another status": _in_mlflow(sql(f"UPDATE runs SET status = 'RUNNING' WHERE run_uuid = {_SWEEPS_RUN}")),
    "a trial's run deleted": _in_mlflow(
        sql(f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = {_TRIALS_RUN}")
    ),
    "a trial's run of another status": _in_mlflow(sql(f"UPDATE runs SET status = 'FAILED' WHERE run_uuid = {_TRIALS_RUN}")),
    "a trial's key gone": _in_mlflow(
        sql(f"DELETE FROM tags WHERE key = 'sweeper.trial_key' AND run_uuid = {_TRIALS_RUN}")
    ),
    "a metric another one": _in_mlflow(
        sql(f"UPDATE latest_metrics SET value = value + 1 WHERE key = 'accuracy' AND run_uuid = {_TRIALS_RUN}")
    ),
    "a param another one": _in_mlflow(
        sql(f"UPDATE params SET value = '77' WHERE key = 'seed' AND run_uuid = {_TRIALS_RUN}")
    ),
    "artifacts said to be elsewhere": _in_mlflow(
        sql(f"UPDATE runs SET artifact_uri = 'file:///dev/null/at/all' WHERE run_uuid = {_SWEEPS_RUN}")
    ),
}  # fmt: skip

#: Damage to the database that breaks no promise: to the live state of a running sweep, to MLflow's own names and
#: version, and to parts that nobody reads.
_UNPROMISED = (
    "sweeper.live", "sweeper.closed", "experiment renamed", "database without its last byte", "database of another version",
)  # fmt: skip


def _swept(home):
    shutil.rmtree(home / "artifacts")


#: Damage to parts that only a search reads; the sweep here is a grid.
_UNREAD = ("knowledge of another kind",)

#: Every kind of damage, grouped by store.
KINDS = [
    *(Damage("ledger", name, lambda home, do=do: do(home / "small/ledger.db")) for name, do in OF_THE_FILE.items()),
    Damage("ledger", "missing", lambda home: (home / "small/ledger.db").unlink()),
    Damage("ledger", "a link to nowhere", lambda home: link_to_nowhere(home / "small/ledger.db")),
    Damage(
        "ledger", "another sweep's", lambda home: shutil.copyfile(home / "other/ledger.db", home / "small/ledger.db")
    ),
    *(
        Damage(
            "row of the ledger", name, lambda home, do=do: do(home / "small/ledger.db"), is_audited=name not in _UNREAD
        )
        for name, do in {**OF_A_ROW, **OF_A_ROW_TOO}.items()
    ),
    *(Damage("MLflow", name, do, not name.startswith(_UNPROMISED)) for name, do in IN_MLFLOW.items()),
    *_of_files("stored front", "artifacts", _FRONT, {**TO_A_FILE, **TO_A_TABLE}),
    Damage("stored front", "another sweep's", _another("artifacts", _FRONT)),
    Damage("stored front", "another task's", lambda home: shutil.copyfile(
        one_of(home, "small", "artifacts", _FRONT.replace("-2", "-3")), one_of(home, "small", "artifacts", _FRONT))),
    Damage("stored front", "one over fewer objectives", lambda home: shutil.copyfile(
        one_of(home, "small", "artifacts", _CHOSEN), one_of(home, "small", "artifacts", _FRONT))),
    *_of_files("chosen front", "artifacts", _CHOSEN, TO_A_FILE),
    *_of_files("stored trials", "artifacts", _TRIALS, {**TO_A_FILE, **TO_A_TABLE}, number=-1),
    Damage("stored trials", "another sweep's", lambda home: shutil.copyfile(
        one_of(home, "other", "artifacts", _TRIALS, -1), one_of(home, "small", "artifacts", _TRIALS, -1))),
    Damage("stored trials", "a front", lambda home: shutil.copyfile(
        one_of(home, "small", "artifacts", _FRONT), one_of(home, "small", "artifacts", _TRIALS, -1))),
    *_of_files("stored file under probes", "artifacts", _PROBES, {**TO_A_FILE, **TO_A_TABLE}),
    Damage("stored file under probes", "another sweep's", _another("artifacts", _PROBES)),
    Damage("stored file under probes", "another trial's", _another("artifacts", _PROBES, "small", 1)),
    *_of_files("stored network", "artifacts", _NETWORK, TO_A_FILE),
    Damage("stored network", "another sweep's", _another("artifacts", _NETWORK)),
    Damage("stored network", "another trial's", _another("artifacts", _NETWORK, "small", 1)),
    *_of_files("stored spec", "artifacts", "spec.yaml", TO_A_FILE),
    Damage("stored spec", "another sweep's", _another("artifacts", "spec.yaml")),
    *_of_files("stored spec for programs", "artifacts", "spec_resolved.json", TO_A_FILE),
    Damage("artifacts", "all gone", _swept),
    Damage("artifacts", "a file in their place", lambda home: (_swept(home), (home / "artifacts").write_text("x"))),
    *_of_files("network", "home", _NETWORK, TO_A_FILE),
    Damage("network", "another sweep's", _another("home", _NETWORK)),
    Damage("network", "another trial's", _another("home", _NETWORK, "small", 1)),
    *_of_files("file under probes", "home", _PROBES, {**TO_A_FILE, **TO_A_TABLE}),
    Damage("file under probes", "another trial's", _another("home", _PROBES, "small", 1)),
    *_of_files("checkpoint", "home", "checkpoints/*.pt", TO_A_FILE, is_audited=False),  # all trials have ended
    *_of_files("note of the driver", "home", "driver.json", TO_A_FILE, is_audited=False),
    *_of_files("lease", "home", "leases/*.json", TO_A_FILE, is_audited=False),
    *_of_files("note of MLflow", "home", "tracking.txt", TO_A_FILE, is_audited=False),
    *(
        Damage("note of another storage", name, lambda home, do=do: do(home / "small/storage.txt"), is_audited=False)
        for name, do in {
            "empty": other_content(b""),
            "of zeros": other_content(bytes(20)),
            "no text": other_content(b"\xff\xfe\xfd"),
            "a folder that is not there": other_content(b"/dev/null/at/all"),
            "a folder": Path.mkdir,
        }.items()
    ),
    *(
        Damage("note of another ledger", name, lambda home, do=do: do(home / "small/ledger.json"), is_audited=False)
        for name, do in {
            "empty": other_content(b""),
            "no text": other_content(b"\xff\xfe\xfd"),
            "torn": other_content(b'{"url": "postg'),
            "of another kind": other_content(b"[1]"),
            "no URL": other_content(b'{"url": 5, "identity": 7}'),
            "another database": other_content(b'{"url": "postgresql://127.0.0.1:1/none", "identity": "7"}'),
            "a folder": Path.mkdir,
        }.items()
    ),
    Damage("home", "a file in a sweep's place", lambda home: (
        shutil.rmtree(home / "small"), (home / "small").write_text("x")), forgets=True),
    Damage(
        "home", "a sweep's folder empty", lambda home: (shutil.rmtree(home / "small"), (home / "small").mkdir()),
        forgets=True),
    Damage("home", "a sweep's folder gone", lambda home: shutil.rmtree(home / "small"), forgets=True),
    Damage("home", "a file in its place", lambda home: (shutil.rmtree(home), home.write_text("x")), forgets=True),
    Damage("home", "empty", lambda home: (shutil.rmtree(home), home.mkdir()), forgets=True),
    Damage("home", "gone", shutil.rmtree, forgets=True),
]  # fmt: skip
