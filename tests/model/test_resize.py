"""Networks moved into other lattices answer and train on as if they had never moved; offers change nothing yet."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.model import Window, cut, remove_dead
from sweeper.model.costs import space_costs, touching
from sweeper.model.counting import living_channels
from sweeper.model.proximal import proximal_step
from sweeper.model.resize import Offer, Source, assembled, fitting_window, move_moments, offer_channels
from tests.model.populations import (
    adam_of,
    embedded,
    entries,
    images_of,
    kill,
    lattice_of,
    loss_of,
    partly_dead,
    stopping_after,
    train_steps,
    windows,
)

quick = settings(max_examples=25, deadline=None)


def assert_same_answers(one, other, tolerance=1e-12):
    """Compare answers (and not window sizes: the steps of one may be more)."""
    steps = min(len(one.step_dist_TBP), len(other.step_dist_TBP))
    for a, b in (
        (one.log_probs_BPK, other.log_probs_BPK),
        (one.expected_steps_BP, other.expected_steps_BP),
        (one.step_dist_TBP[:steps], other.step_dist_TBP[:steps]),
    ):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def everything(lattice, row=0):
    return Source(lattice, row, [torch.arange(c) for c in lattice.window.channels])


def drawn_window(data, window, channels, least_steps):
    """Draw a window that holds these channels, and may be wider, deeper and longer than needed."""
    wider = [max(c, 1) + data.draw(st.integers(0, 2)) for c in channels]
    deeper = data.draw(st.lists(st.integers(1, 2), max_size=2))
    return window.resized((*wider, *deeper), least_steps + data.draw(st.integers(0, 2)))


@quick
@given(partly_dead(), st.data())
def test_any_kept_channels_with_all_the_living_ones_give_the_same_answers_and_costs(given_window, data):
    window, dead = given_window
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    kill(lattice, dead)
    profile = data.draw(entries(window.steps))
    lattice.entry[1] = torch.tensor(profile)
    remove_dead(lattice)
    sources = []
    for row in data.draw(st.permutations([0, 1])):
        kept = []
        for alive_PC in living_channels(lattice):
            also = data.draw(st.lists(st.integers(0, alive_PC.shape[1] - 1)))
            numbers = set(alive_PC[row].nonzero().flatten().tolist()) | set(also)
            kept.append(torch.tensor(sorted(numbers), dtype=torch.long))
        while kept and not len(kept[-1]) and data.draw(st.booleans()):
            kept.pop()
        sources.append(Source(lattice, row, kept))
    fewest = [max((len(s.kept[l]) for s in sources if l < len(s.kept)), default=0) for l in range(window.layers)]
    last = int(lattice.last_step.max())
    moved = assembled(drawn_window(data, window, fewest, last), sources)
    answer, same = lattice(images), moved(images)
    order = [source.row for source in sources]
    steps = min(window.steps, moved.window.steps)
    torch.testing.assert_close(same.log_probs_BPK, answer.log_probs_BPK[:, order], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        same.step_dist_TBP[:steps], answer.step_dist_TBP[:steps, :, order], rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(same.expected_steps_BP, answer.expected_steps_BP[:, order], rtol=1e-12, atol=1e-12)
    if moved.window.is_recurrent:  # a window of one step has no recurrent weights that could cost anything
        for one, other in zip(space_costs(lattice), space_costs(moved), strict=True):
            torch.testing.assert_close(other, one[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("window_change", ["narrower", "shallower"])
def test_channel_that_is_alive_and_left_behind_changes_the_answer(window_change):
    """Show that the property above depends on which channels are kept."""
    window = Window((3, 2), 3, (1, 5, 6), 3)
    lattice, images = lattice_of(window), images_of(window)
    kept = {"narrower": [torch.arange(2), torch.arange(2)], "shallower": [torch.arange(3)]}[window_change]
    moved = assembled(window, [Source(lattice, 0, kept)])
    assert (moved(images).log_probs_BPK - lattice(images).log_probs_BPK).abs().max() > 1e-3


def proximal_steps(lattice, optimizer, images, steps, breadth=0.0):
    """Train with a pressure, so that the metric of the moments matters too."""
    for _ in range(steps):
        train_steps(lattice, optimizer, images, 1)
        proximal_step(
            lattice,
            torch.full((lattice.population,), breadth).double(),
            torch.zeros(lattice.population).double(),
            optimizer,
        )


@settings(quick, max_examples=15)
@given(partly_dead(max_layers=2), st.data())
def test_training_goes_on_as_if_nothing_had_moved(given_window, data):
    """Move into a larger window, beside a network of another size; float64 shows any difference but rounding."""
    window, dead = given_window
    images = images_of(window)
    stays, other = lattice_of(window, (0,)), lattice_of(window.resized((2, 3), window.steps), (5,))
    kill(stays, dead)
    remove_dead(stays)
    optimizer, other_optimizer = adam_of(stays), adam_of(other)
    for lattice, its in ((stays, optimizer), (other, other_optimizer)):
        proximal_steps(lattice, its, images, data.draw(st.integers(0, 3)) if lattice is stays else 3, 0.001)
    # Dead and unreachable channels are removed before a network is moved.
    for parameter, keep in touching(stays, [alive_PC.double() for alive_PC in remove_dead(stays)]):
        for moment in optimizer.moments(parameter):
            moment.mul_(keep)
    if not optimizer.state:
        other_optimizer.state.clear()
    for state in optimizer.state.values():
        state["step"].fill_(3.0)  # networks of a population have all made the same number of steps
    kept = [alive_PC[0].nonzero().flatten() for alive_PC in living_channels(stays)]
    sources = [everything(other), Source(stays, 0, kept)]
    fewest = [max(2, len(kept[0])), max(3, len(kept[1]) if window.layers > 1 else 0)]
    whole = drawn_window(data, window, fewest, window.steps)
    if not window.is_recurrent:
        whole = whole.resized(whole.channels, 1)  # with more steps, recurrent weights could learn
    moved = assembled(whole, sources)
    moved_optimizer = adam_of(moved)
    move_moments(sources, [other_optimizer, optimizer], moved, moved_optimizer)
    for lattice, its in ((stays, optimizer), (moved, moved_optimizer), (other, other_optimizer)):
        proximal_steps(lattice, its, images, 3, 0.001)
    # Only the kept channels of the larger window are compared; the others are dead.
    for row, (unmoved, its_kept) in enumerate([(other, everything(other).kept), (stays, kept)]):
        back = assembled(unmoved.window, [Source(moved, row, [torch.arange(len(k)) for k in its_kept])])
        same = assembled(unmoved.window, [Source(unmoved, 0, its_kept)])
        for (name, a), b in zip(back.named_parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")
        assert_same_answers(assembled(moved.window, [everything(moved, row)])(images), unmoved(images), 1e-9)


def test_training_without_its_moments_goes_on_elsewhere():
    """Show that the property above depends on the moments."""
    window = Window((3, 2), 3, (1, 5, 6), 3)
    stays, images = lattice_of(window), images_of(window)
    optimizer = adam_of(stays)
    train_steps(stays, optimizer, images, 3)
    moved = assembled(window, [everything(stays)])
    train_steps(moved, adam_of(moved), images, 2)
    train_steps(stays, optimizer, images, 2)
    assert (moved.readout[0] - stays.readout[0]).abs().max() > 1e-3


# Offers


@st.composite
def offers(draw):
    """Draw a population, one of its networks, and new channels in one of its layers or in a new one."""
    window = draw(windows())
    offered = [layer for layer in range(window.layers + 1) if window.reaches(layer + 1, window.steps)]
    layer, added = draw(st.sampled_from(offered)), draw(st.integers(1, 3))
    return window, Offer(draw(st.integers(0, 1)), layer, list(window.channels), added, draw(st.integers(0, 5)))


def with_room(window, offer):
    """Return a trained population in a window with room for an offer, and its optimizer."""
    lattice = lattice_of(window, (0, 1))
    optimizer = adam_of(lattice)
    train_steps(lattice, optimizer, images_of(window, 8), 2)
    channels = [*window.channels, 0][: max(window.layers, offer.layer + 1)]
    channels[offer.layer] += offer.added
    sources = [everything(lattice, row) for row in (0, 1)]
    roomy = assembled(window.resized(tuple(channels), window.steps), sources)
    moved = adam_of(roomy)
    move_moments(sources, [optimizer] * 2, roomy, moved)
    return lattice, roomy, moved


@quick
@given(offers())
def test_offered_channels_change_no_answer_and_hear_all_there_is(window_and_offer):
    window, offer = window_and_offer
    images = images_of(window)
    lattice, roomy, optimizer = with_room(window, offer)
    before = assembled(roomy.window, [everything(roomy, row) for row in (0, 1)])
    offer_channels(roomy, optimizer, offer)
    assert_same_answers(lattice(images), roomy(images))
    for one, other in zip(roomy.parameters(), before.parameters(), strict=True):
        assert torch.equal(one[1 - offer.row], other[1 - offer.row])  # the other network gets no offer
    first = offer.here.start
    heard = roomy.bottom_up[offer.layer][offer.row, first:]
    assert torch.all(heard.flatten(1).norm(dim=1) > 0)
    if window.has_recurrent_weights and offer.layer < window.layers:
        old = window.channels[offer.layer]
        assert torch.all(roomy.lateral[offer.layer][offer.row, first:, :old] != 0)
    # Their outgoing weights: readout and lateral ones.
    assert torch.all(roomy.readout[offer.layer][offer.row, :, first:] == 0)
    if window.has_recurrent_weights:
        assert torch.all(roomy.lateral[offer.layer][offer.row, :, first:] == 0)


@quick
@given(offers())
def test_offered_channels_are_heard_after_one_training_step_and_have_a_slope_themselves(window_and_offer):
    window, offer = window_and_offer
    images = images_of(window, 8)
    _, roomy, optimizer = with_room(window, offer)
    offer_channels(roomy, optimizer, offer)
    with torch.no_grad():  # a new channel may be silent on every image; this one is not
        roomy.bottom_up[offer.layer][offer.row, offer.here].abs_()
        if offer.layer:
            roomy.bias[0][offer.row] += 1
            roomy.bottom_up[0].abs_()
            for l in range(1, offer.layer):
                roomy.bottom_up[l].abs_()
        if window.has_recurrent_weights:
            for l in range(roomy.window.layers):
                roomy.lateral[l].abs_()
            for l in range(roomy.window.layers - 1):
                roomy.top_down[l].abs_()
        for l in range(roomy.window.layers):
            roomy.bias[l].abs_()
    readout = roomy.readout[offer.layer]
    train_steps(roomy, optimizer, images, 1)
    assert torch.all(readout[offer.row, :, offer.here] != 0)
    roomy.zero_grad()
    loss_of(roomy, images).backward()
    assert torch.all(roomy.bottom_up[offer.layer].grad[offer.row, offer.here].flatten(1).norm(dim=1) > 0)
    assert torch.all(roomy.bias[offer.layer].grad[offer.row, offer.here] != 0)


@quick
@given(offers())
def test_offered_channels_start_with_the_second_moments_of_their_like(window_and_offer):
    window, offer = window_and_offer
    _, roomy, optimizer = with_room(window, offer)
    before = {p: optimizer.state[p]["exp_avg_sq"].clone() for p in roomy.parameters()}
    offer_channels(roomy, optimizer, offer)
    for parameter in roomy.parameters():
        now, was = optimizer.state[parameter]["exp_avg_sq"], before[parameter]
        assert torch.isfinite(now).all()
        assert torch.equal(now[1 - offer.row], was[1 - offer.row])
    own = optimizer.state[roomy.readout[offer.layer]]["exp_avg_sq"][offer.row, :, offer.here]
    known = torch.cat([before[p][offer.row].flatten() for p in roomy.readout])
    mean = known[known > 0].mean() if bool((known > 0).any()) else known.new_zeros(())
    torch.testing.assert_close(own, mean.expand_as(own))


@quick
@given(offers(), st.integers(0, 2), st.integers(0, 1))
def test_offer_does_not_depend_on_the_window_around_it(window_and_offer, channels, layers):
    window, offer = window_and_offer
    _, roomy, optimizer = with_room(window, offer)
    larger_window = roomy.window.resized(
        (*(c + channels for c in roomy.window.channels), *[2] * layers), roomy.window.steps
    )
    sources = [everything(roomy, row) for row in (0, 1)]
    larger = assembled(larger_window, sources)
    larger_optimizer = adam_of(larger)
    move_moments(sources, [optimizer] * 2, larger, larger_optimizer)
    offer_channels(roomy, optimizer, offer)
    offer_channels(larger, larger_optimizer, offer)
    for one, other in zip(embedded(roomy, larger_window).parameters(), larger.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@quick
@given(windows().filter(lambda window: window.is_recurrent))
def test_offer_to_a_network_that_stops_at_its_first_step_is_that_in_a_window_of_one_step(window):
    """Other networks may keep more steps in the lattice; this network still has no recurrent weights."""
    offer = Offer(0, 0, [max(1, c - 1) for c in window.channels], 1, 3)
    room = window.resized((offer.counts[0] + 1, *offer.counts[1:]), window.steps)
    lattice = lattice_of(window, (0,))
    stopping_after(lattice, 0, 1)
    found = []
    for steps in (1, window.steps):
        roomy = assembled(
            room.resized(room.channels, steps), [Source(lattice, 0, [torch.arange(c) for c in offer.counts])]
        )
        optimizer = adam_of(roomy)
        offer_channels(roomy, optimizer, offer)
        found.append(roomy)
    for one, other in zip(found[0].bottom_up, found[1].bottom_up, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert all(bool((lateral[0, offer.here] == 0).all()) for lateral in found[1].lateral[:1])


# Steps


@quick
@given(windows())
def test_new_step_that_is_shut_changes_no_answer(window):
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    longer = assembled(window.resized(window.channels, window.steps + 1), [everything(lattice, row) for row in (0, 1)])
    assert longer.entry[:, -1].tolist() == [0, 0]
    assert_same_answers(lattice(images), longer(images))


@quick
@given(windows())
def test_step_that_has_closed_can_be_taken_away_and_changes_no_answer(window):
    window = window.resized(window.channels, window.steps + 1)
    lattice, images = lattice_of(window, (0, 1)), images_of(window)
    for row in (0, 1):
        stopping_after(lattice, row, window.steps - 1)
    shorter = assembled(window.resized(window.channels, window.steps - 1), [everything(lattice, row) for row in (0, 1)])
    assert_same_answers(lattice(images), shorter(images))
    remove_dead(lattice)
    assert_same_answers(shorter_of(lattice, 1)(images), cut(lattice, 1)(images))


def shorter_of(lattice, row):
    return assembled(
        lattice.window.resized(lattice.window.channels, int(lattice.last_step[row])), [everything(lattice, row)]
    )


# The least window


@quick
@given(windows(), st.lists(st.tuples(st.lists(st.integers(1, 5), max_size=3), st.integers(1, 4)), min_size=1))
def test_fitting_window_is_the_least_that_holds_all(window, sizes):
    channels, steps = zip(*sizes, strict=True)
    fitted = fitting_window(window, channels, steps)
    assert fitted.steps == max(steps)
    assert fitted.layers == max(map(len, channels))
    for l, c in enumerate(fitted.channels):
        assert c == max(its[l] for its in channels if len(its) > l)
    assert fitted.resized((), 1) == window.resized((), 1)
