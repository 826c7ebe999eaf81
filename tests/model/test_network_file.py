"""A network that is written and read again gives the same answers; a file without a network is refused in words."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load as tensors_of
from safetensors.torch import save as safetensors_bytes
from torch.export import Dim, export

from sweeper.model import Lattice, NetworkFileError, Window, WindowError, cut, decode, encode, load, remove_dead, save
from sweeper.model.network import Network
from sweeper.model.saved_network import FORMAT, digest
from sweeper.model.window import FORMER_NAMES
from sweeper.spec.choices import FORMER_TIME_SELECTIONS
from tests.model.populations import images_of, lattice_of, windows

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

ROOT = Path(__file__).parents[2]

WINDOW = Window((3, 2), 3, (1, 6, 7), 4, halve=(2,))

#: One window of each kind.
KINDS = {
    "confidence": WINDOW,
    "state": Window((3, 2), 3, (3, 6, 7), 4, time_selection="state"),
    "bottom-up at the next step": Window((3, 2), 3, (1, 6, 7), 4, halve=(2,), bottom_up="next"),
    "feed-forward": Window((3, 2), 3, (1, 6, 7), 4, halve=(2,), bottom_up="next", connections="feed_forward"),
    "fixed": Window((3, 2), 3, (3, 6, 7), 4, time_selection="fixed"),
    "one step": Window((3, 2), 1, (1, 6, 7), 4, halve=(1, 2)),
    "one step, fixed": Window((3,), 1, (1, 6, 7), 4, time_selection="fixed"),
    "no layer": Window((), 3, (1, 6, 7), 4),
    "no layer, fixed": Window((), 2, (1, 6, 7), 2, time_selection="fixed"),
}

DESCRIPTIONS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) |
        st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)  # fmt: skip


def network_of(window=WINDOW):
    """Return a network whose every weight is random, in the type that files hold."""
    return Network(lattice_of(window).float(), {"key": "0123"}).eval()


def pixels_of(window, count=3):
    return images_of(window, count).float()


@quick
@given(windows(min_layers=0))
def test_window_knows_the_shapes_of_its_lattice_without_making_it(window):
    lattice = Lattice(window, [0, 1])
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in lattice.state_dict().items()}
    learned = {name: tuple(parameter.shape[1:]) for name, parameter in lattice.named_parameters()}
    assert window.learned_shapes() == learned
    assert {**learned, **window.kept_shapes()} == shapes


def answers(network, images):
    with torch.no_grad():
        return vars(network(images))


def assert_same_answers(one, other, **tolerance):
    for name, values in one.items():
        torch.testing.assert_close(values, other[name], **tolerance)


EXACTLY = {"rtol": 0, "atol": 0}


# Round trips


@quick
@given(windows(min_layers=0), DESCRIPTIONS)
def test_network_read_again_is_the_same_and_gives_the_same_answers(tmp_path, window, description):
    network, images = network_of(window), pixels_of(window)
    save(network.lattice, description, tmp_path / "a.safetensors")
    read = load(tmp_path / "a.safetensors")
    assert (read.window, read.description) == (window, description)
    assert_same_answers(answers(network, images), answers(read, images), **EXACTLY)


@quick
@given(windows(), st.integers(0, 1))
def test_written_network_answers_as_the_population_it_was_cut_from(tmp_path, window, member):
    lattice, images = lattice_of(window, (0, 1)).float(), pixels_of(window)
    remove_dead(lattice)
    save(cut(lattice, member), {}, tmp_path / "a.safetensors")
    read, answer = answers(load(tmp_path / "a.safetensors"), images), lattice(images)
    of_population = {
        "log_probs": answer.log_probs_BPK[:, member],
        "expected_steps": answer.expected_steps_BP[:, member],
        "step_dist": answer.step_dist_TBP[:, :, member].T,
        "logits": answer.logits_TBPK[:, :, member].transpose(0, 1),
    }
    assert_same_answers(of_population, read)
    torch.testing.assert_close(read["log_probs"].exp().sum(1), torch.ones(3))


def test_content_of_a_file_is_read_as_the_file_is(tmp_path):
    network, images = network_of(), pixels_of(WINDOW)
    save(network.lattice, network.description, tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    assert data == encode(network.lattice, network.description)
    read = decode(data, "networks/a.safetensors")
    assert (read.window, read.description) == (WINDOW, network.description)
    assert_same_answers(answers(network, images), answers(read, images), **EXACTLY)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    network = network_of()
    for name in ("a", "b"):
        save(network.lattice, {"z": 1, "a": [2.5]}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_are_written_in_float32_whatever_they_were_trained_in(tmp_path):
    save(lattice_of(WINDOW), {}, tmp_path / "a.safetensors")
    floats = {t.dtype for t in tensors_of((tmp_path / "a.safetensors").read_bytes()).values() if t.is_floating_point()}
    assert floats == {torch.float32}
    assert load(tmp_path / "a.safetensors").lattice.readout_bias.dtype == torch.float32


def test_network_that_is_read_does_not_change_with_its_file(tmp_path):
    path, images = tmp_path / "a.safetensors", pixels_of(WINDOW)
    save(network_of().lattice, {}, path)
    read = load(path)
    before = answers(read, images)
    path.write_bytes(bytes(path.stat().st_size))  # in place, unlike `save`
    assert_same_answers(before, answers(read, images), **EXACTLY)


def test_write_that_fails_leaves_the_former_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save(network_of().lattice, {}, path)
    before = path.read_bytes()
    monkeypatch.setattr(
        "sweeper.model.aside.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        save(network_of(KINDS["fixed"]).lattice, {}, path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_description_with_a_number_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save(network_of().lattice, {"loss": float("nan")}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_population_of_two_is_no_network(tmp_path):
    with pytest.raises(WindowError, match=r"got 2 members.*cut\(lattice, member\)"):
        save(lattice_of(WINDOW, (0, 1)), {}, tmp_path / "a.safetensors")


# Images that do not fit


@pytest.mark.parametrize("shape", [(2, 1, 7, 6), (2, 3, 6, 7), (1, 6, 7), (2, 1, 1, 6, 7), (0,)])
def test_images_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(WindowError, match=r"\(batch, 1, 6, 7\)") as refused:
        network_of()(torch.zeros(shape))
    assert str(shape) in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_pixels_of_another_type_are_refused_with_the_way_to_convert_them(dtype):
    with pytest.raises(WindowError, match=rf"torch\.float32, but got {dtype}.*divide by 255"):
        network_of()(torch.zeros((2, 1, 6, 7), dtype=dtype))


# torch.export


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_network_exported_by_torch_takes_any_batch_and_gives_the_same_answers(tmp_path, kind):
    window = KINDS[kind]
    network = network_of(window)
    save(network.lattice, {}, tmp_path / "a.safetensors")
    network = load(tmp_path / "a.safetensors")
    program = export(network, (pixels_of(window),), dynamic_shapes={"images": {0: Dim("batch")}})
    for count in (1, 2, 7):
        images = pixels_of(window, count)
        assert_same_answers(answers(network, images), answers(program.module(), images))


@pytest.mark.slow
def test_exported_program_is_saved_and_loaded_by_torch(tmp_path):
    network, images = network_of(), pixels_of(WINDOW)
    program = export(network, (images,), dynamic_shapes={"images": {0: Dim("batch")}})
    torch.export.save(program, tmp_path / "network.pt2")
    assert_same_answers(answers(network, images), answers(torch.export.load(tmp_path / "network.pt2").module(), images))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "is_known"),
    [("from sweeper.model import NetworkAnswer", True), ("import sweeper; sweeper.Network", True), ("", False)],
)
def test_saved_program_is_loaded_in_another_process_once_the_answer_is_imported(tmp_path, statement, is_known):
    program = export(network_of(), (pixels_of(WINDOW),), dynamic_shapes={"images": {0: Dim("batch")}})
    torch.export.save(program, tmp_path / "network.pt2")
    code = f"{statement}\nimport torch\ntorch.export.load({str(tmp_path / 'network.pt2')!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is is_known, done.stderr
    assert is_known or "sweeper.NetworkAnswer" in done.stderr


# Files that hold no network


def refusal(path):
    """Return the refusal of a file: one line with its name and advice, and the same for its content alone."""
    with pytest.raises(NetworkFileError) as refused:
        load(path)
    message = str(refused.value)
    if path.is_file():
        with pytest.raises(NetworkFileError) as refused_content:
            decode(path.read_bytes(), str(path))
        assert str(refused_content.value) == message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert any(way in message for way in ("sweeper export", "newer version"))
    return message


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "a.safetensors"
    save(network_of(Window((2,), 2, (1, 4, 4), 2)).lattice, {"key": "0123"}, path)
    return path.read_bytes()


def test_file_that_is_not_there_and_folder_are_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nowhere.safetensors")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\0" * 8, b"\xff" * 100, b"PK\x03\x04 half a zip file", b"{}" * 50]
)
def test_garbage_is_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    assert "no safetensors file" in refusal(tmp_path / "a.safetensors")


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("code in a file was run",))


@pytest.mark.parametrize("dump", [pickle.dump, torch.save])
def test_pickle_is_refused_and_not_run(tmp_path, dump):
    with (tmp_path / "a.safetensors").open("wb") as file:
        dump({"sweeper": Evil()}, file)
    assert "no safetensors file" in refusal(tmp_path / "a.safetensors")


def test_safetensors_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}):
        path.write_bytes(safetensors_bytes({"weight": torch.ones(2)}, metadata))
        assert "holds no network of sweeper" in refusal(path)


@quick
@given(data=st.data())
def test_file_cut_off_anywhere_is_refused(tmp_path, written, data):
    length = data.draw(st.integers(0, len(written) - 1))
    (tmp_path / "a.safetensors").write_bytes(written[:length])
    assert "cut off" in refusal(tmp_path / "a.safetensors")


@settings(quick, max_examples=200)
@given(data=st.data())
def test_file_with_a_changed_byte_is_refused_or_the_same_network(tmp_path, written, data):
    path, at = tmp_path / "a.safetensors", data.draw(st.integers(0, len(written) - 1))
    changed = bytearray(written)
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    with suppress(NetworkFileError):
        read = load(path)
        # Some changes only alter white space in the JSON.
        assert read.description == {"key": "0123"}
        for name, tensor in read.lattice.state_dict().items():
            assert torch.equal(tensor, tensors_of(written)[name])
        return
    refusal(path)


# Forged files, each with the right checksum


def forge(path, window=WINDOW, *, drop=(), entry=None, **changes):
    """Write a network's file with some of its content changed; a field of None is removed."""
    lattice = lattice_of(WINDOW).float()
    tensors = {name: tensor for name, tensor in lattice.state_dict().items() if name not in drop}
    tensors |= changes.pop("tensors", {})
    content = {
        "format": FORMAT,
        "window": window if isinstance(window, dict) else asdict(window),
        "description": {},
    } | changes
    content["window"] = {**content["window"], **changes.get("fields", {})}
    content.pop("fields", None)
    content = {name: value for name, value in content.items() if value is not None}
    text = (
        json.dumps({**content, "sha256": digest(content, {name: tensor.numpy() for name, tensor in tensors.items()})})
        if entry is None
        else entry
    )
    path.write_bytes(safetensors_bytes(tensors, {"sweeper": text}))
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "forged.safetensors"


def test_forged_file_without_a_change_is_a_network(path):
    assert load(forge(path)).window == WINDOW


def test_file_that_says_adaptive_holds_a_network_that_halts_by_confidence(path):
    assert load(forge(path, fields={"time_selection": "adaptive"})).window == WINDOW
    assert FORMER_NAMES == FORMER_TIME_SELECTIONS  # model and spec read the same former names


@pytest.mark.parametrize("entry", ["", "no json", "[1]", "null", "[" * 100_000, '{"format": "1"}', '{"format": true}'])
def test_description_that_is_none_is_refused(path, entry):
    assert "is damaged" in refusal(forge(path, entry=entry))


def test_newer_format_is_refused_with_its_number(path):
    told = f"has format {FORMAT + 1}, but this version of sweeper reads formats up to {FORMAT}"
    assert told in refusal(forge(path, format=FORMAT + 1))
    assert "at least 1, but is 0" in refusal(forge(path, format=0))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_number_that_is_not_finite_in_a_description_is_refused(path, number):
    entry = '{"format": 1, "window": %s, "description": {"loss": %s}, "sha256": ""}'
    assert "checksum" in refusal(forge(path, entry=entry % (json.dumps(asdict(WINDOW)), number)))


@pytest.mark.parametrize("part", ["description", "sha256"])
def test_file_without_a_part_is_refused(path, part):
    if part == "sha256":
        content = {"format": 1, "window": asdict(WINDOW), "description": {}}
        assert "checksum" in refusal(forge(path, entry=json.dumps(content)))
    else:
        assert "lacks its window or its description" in refusal(forge(path, description=None))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": "3"}, "steps='3'"),
        ({"steps": 3.0}, "steps=3.0"),
        ({"steps": True}, "steps=True"),
        ({"steps": None}, "steps=None"),
        ({"steps": [3]}, "steps=[3]"),
        ({"steps": 2**70}, f"'entry' must be torch.float32 of shape (1, {2**70})"),
        ({"channels": 3}, "channels=3"),
        ({"channels": [3, 0]}, "channels=(3, 0)"),
        ({"channels": [3, "2"]}, "channels=[3, '2']"),
        ({"channels": [2**40, 2**40]}, ""),  # refused before memory is allocated
        ({"channels": [10**6, 3]}, "bottom_up.0"),
        ({"channels": [3, 2, 2]}, "lacks 'bias.2'"),
        ({"channels": [3]}, "unexpected tensor 'bias.1'"),
        ({"image": [1, 6]}, "image=[1, 6]"),
        ({"image": [1, 0, 7]}, "image=[1, 0, 7]"),
        ({"image": [1, 1, 1]}, "halve"),
        ({"classes": 5}, "readout_bias"),
        ({"kernel": 2}, "kernel=2"),
        ({"kernel": 5}, "bottom_up.0"),
        ({"time_selection": "sometimes"}, "'sometimes'"),
        ({"time_selection": "fixed"}, "hazard"),
        ({"bottom_up": "later"}, "'later'"),
        ({"connections": "lateral"}, "'lateral'"),
        ({"connections": "feed_forward"}, "bottom_up='within'"),
        ({"connections": "feed_forward", "bottom_up": "next"}, "unexpected tensor 'lateral.0'"),
        ({"colour": 1}, "unknown field 'colour'"),
    ],
    ids=str,
)
def test_window_that_does_not_fit_is_refused_with_what_is_wrong(path, fields, named):
    assert named in refusal(forge(path, fields=fields))


@pytest.mark.parametrize(
    ("format_", "lacks"), [(1, "kernel"), (FORMAT, "kernel"), (2, "bottom_up"), (FORMAT, "connections")]
)
def test_window_that_lacks_a_field_is_refused(path, format_, lacks):
    values = {name: value for name, value in asdict(WINDOW).items() if name != lacks}
    entry = json.dumps({"format": format_, "window": values, "description": {}})
    assert f"lacks {lacks!r}" in refusal(forge(path, entry=entry))


def test_file_from_before_bottom_up_was_a_choice_takes_it_within_the_step(path):
    values = {name: value for name, value in asdict(WINDOW).items() if name != "bottom_up"}
    network = load(forge(path, format=1, window=values))
    assert network.window == WINDOW
    assert network.window.bottom_up == "within"


def content_of(data):
    """Return the JSON that a file holds."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["sweeper"])


def test_file_from_before_connections_were_a_choice_has_all(path):
    values = {name: value for name, value in asdict(WINDOW).items() if name != "connections"}
    network = load(forge(path, format=2, window=values))
    assert network.window == WINDOW
    assert network.window.connections == "all"


@pytest.mark.parametrize("kind", KINDS)
def test_file_says_no_more_of_its_window_than_it_must_so_that_former_versions_read_it(kind):
    content = content_of(encode(network_of(KINDS[kind]).lattice, {}))
    known_to_format_2 = asdict(WINDOW).keys() - {"connections"}
    assert (content["format"], content["window"].keys()) == (
        (3, asdict(WINDOW).keys()) if kind == "feed-forward" else (2, known_to_format_2)
    )


@pytest.mark.parametrize("name", list(Lattice(WINDOW, [0]).state_dict()))
def test_tensor_that_is_missing_or_of_another_shape_or_type_is_refused_by_name(path, name):
    tensor = Lattice(WINDOW, [0]).state_dict()[name]
    assert f"lacks {name!r}" in refusal(forge(path, drop=[name]))
    longer = torch.cat([tensor, tensor])
    assert f"{name!r} must be {tensor.dtype}" in refusal(forge(path, tensors={name: longer}))
    for dtype in (torch.float64, torch.int32):
        assert f"but is {dtype}" in refusal(forge(path, tensors={name: tensor.to(dtype)}))


def test_tensor_too_many_is_refused_by_name(path):
    assert "unexpected tensor 'bottom_up.2'" in refusal(forge(path, tensors={"bottom_up.2": torch.ones(1)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weight_that_is_not_finite_is_refused_by_name(path, value):
    broken = torch.zeros(1, 4)
    broken[0, 2] = value
    assert "'readout_bias' holds infinite" in refusal(forge(path, tensors={"readout_bias": broken}))
