import dataclasses

import pytest
import torch

from lab.base import ConfigError, DataError
from lab.datasets import Augmentation, BatchStream, DataConfig, Normalisation, load, open_streams, split
from lab.datasets import stream as stream_module

DIGITS = load(DataConfig())
SPLITS = split(DIGITS, DataConfig())
UNCHANGED = Normalisation(mean=(0.0,), deviation=(1.0,))


def training_stream(bundle=DIGITS, *, normalisation=UNCHANGED, seed=0, part="train", batch_size=64, device="cpu"):
    return BatchStream(
        bundle,
        SPLITS,
        part,
        normalisation=normalisation,
        batch_size=batch_size,
        seed=seed,
        training=True,
        device=device,
    )


def epoch_of(stream, epoch, start_batch=0):
    images, labels = zip(*stream.batches(epoch, start_batch), strict=True)
    return torch.cat(images), torch.cat(labels)


def with_augmentation(shift, flip):
    return dataclasses.replace(DIGITS, augmentation=Augmentation(shift=shift, flip=flip))


def test_an_epoch_is_a_function_of_seed_and_epoch():
    first, again = epoch_of(training_stream(), 5), epoch_of(training_stream(), 5)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], epoch_of(training_stream(), 6)[1])
    assert not torch.equal(first[1], epoch_of(training_stream(seed=1), 5)[1])


def test_an_epoch_does_not_touch_the_global_random_stream():
    before = torch.get_rng_state()
    epoch_of(training_stream(), 0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("start_batch", [0, 1, 7, 15])
def test_an_epoch_taken_up_inside_gives_the_same_batches(start_batch):
    stream = training_stream()
    whole, rest = list(stream.batches(2)), list(stream.batches(2, start_batch))
    assert len(rest) == len(stream) - start_batch
    for (x, y), (x_again, y_again) in zip(whole[start_batch:], rest, strict=True):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)


def test_an_epoch_shows_each_sample_at_most_once_with_its_own_label():
    stream = training_stream(with_augmentation(0, False))
    x, y = epoch_of(stream, 1)
    rows = SPLITS.train[stream.order(1)][: len(y)]
    assert len(x) == 960 == 15 * 64
    assert len(rows.unique()) == len(rows)
    assert torch.equal(x, DIGITS.x_train[rows])
    assert torch.equal(y, DIGITS.y_train[rows])


@pytest.mark.parametrize(("shift", "flip"), [(1, False), (2, True), (0, True), (3, False)])
def test_each_augmented_image_is_shifted_and_mirrored_as_drawn_for_the_sample(shift, flip):
    stream = training_stream(with_augmentation(shift, flip))
    x, _ = epoch_of(stream, 4)
    rows = SPLITS.train[stream.order(4)][: len(x)]
    seen = set()
    for image, original in zip(x, DIGITS.x_train[rows], strict=True):
        found = []
        for mirrored in (False, True) if flip else (False,):
            wide = torch.nn.functional.pad(original.flip(-1) if mirrored else original, (shift,) * 4)
            for down in range(2 * shift + 1):
                for right in range(2 * shift + 1):
                    if torch.equal(image, wide[:, down : down + 8, right : right + 8]):
                        found.append((down, right, mirrored))
        assert found
        seen.update(found if len(found) == 1 else [])
    assert len(seen) == (2 * shift + 1) ** 2 * (2 if flip else 1)


def test_a_samples_augmentation_does_not_depend_on_the_division_or_the_batch_size():
    bundle = with_augmentation(2, True)
    everything = dataclasses.replace(SPLITS, train=torch.arange(len(DIGITS.y_train)))
    small = training_stream(bundle)
    large = BatchStream(bundle, everything, "train", normalisation=UNCHANGED, batch_size=100, training=True)
    of_small = dict(zip(SPLITS.train[small.order(3)].tolist(), epoch_of(small, 3)[0], strict=False))
    of_large = dict(zip(large.order(3).tolist(), epoch_of(large, 3)[0], strict=False))
    both = set(of_small) & set(of_large)
    assert len(both) > 500
    assert all(torch.equal(of_small[row], of_large[row]) for row in both)


def test_another_epoch_augments_a_sample_anew():
    stream = training_stream(with_augmentation(2, True))
    first, second = (
        dict(zip(stream.order(epoch).tolist(), epoch_of(stream, epoch)[0], strict=False)) for epoch in (0, 1)
    )
    both = set(first) & set(second)
    changed = sum(not torch.equal(first[row], second[row]) for row in both)
    assert changed > 0.9 * len(both) > 500


def test_black_moves_in_whatever_the_normalisation():
    bundle = dataclasses.replace(DIGITS, augmentation=Augmentation(shift=1), x_train=torch.ones_like(DIGITS.x_train))
    normalisation = Normalisation(mean=(0.5,), deviation=(0.25,))
    x, _ = epoch_of(training_stream(bundle, normalisation=normalisation), 0)
    assert set(x.unique().tolist()) == {-2.0, 2.0}


def test_a_fixed_order_stream_gives_every_sample_once_unchanged():
    stream = BatchStream(DIGITS, SPLITS, "test", normalisation=UNCHANGED, batch_size=100)
    x, y = epoch_of(stream, 0)
    assert [len(batch) for _, batch in stream] == [100, 100, 100, 59]
    assert torch.equal(x, DIGITS.x_test)
    assert torch.equal(y, DIGITS.y_test)
    assert torch.equal(epoch_of(stream, 3)[0], x)


def test_normalisation_is_measured_on_the_weights_part_alone():
    streams = open_streams(DataConfig(), batch_size=64)
    own = DIGITS.x_train[streams.splits.train].double()
    assert streams.normalisation.mean[0] == pytest.approx(float(own.mean()), abs=1e-12)
    assert streams.normalisation.deviation[0] == pytest.approx(float(own.std(correction=0)), abs=1e-12)
    assert streams.normalisation.mean[0] != pytest.approx(float(DIGITS.x_train.double().mean()), abs=1e-6)


def test_normalised_weights_have_mean_0_and_deviation_1_in_each_channel():
    streams = open_streams(DataConfig(name="shapes", shapes_train=300, shapes_test=100, augment=False), batch_size=8)
    x = streams.normalisation.apply(streams.bundle.x_train[streams.splits.train])
    assert x.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (x.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3


def test_a_constant_channel_is_left_finite():
    assert Normalisation.of(torch.full((4, 1, 2, 2), 3.0), torch.arange(4)) == Normalisation(
        mean=(3.0,), deviation=(1.0,)
    )


def test_a_part_too_large_for_float32_gives_the_same_batches(monkeypatch):
    config = DataConfig(name="shapes", shapes_train=300, shapes_test=100)
    up_front = open_streams(config, batch_size=32)
    monkeypatch.setattr(stream_module, "FLOAT_LIMIT", 0)
    by_batch = open_streams(config, batch_size=32)
    assert by_batch.train.x_nCPQ.dtype == torch.uint8
    assert up_front.train.x_nCPQ.dtype == torch.float32
    assert torch.equal(epoch_of(up_front.train, 1)[0], epoch_of(by_batch.train, 1)[0])
    assert torch.equal(epoch_of(up_front.test, 0)[0], epoch_of(by_batch.test, 0)[0])


def test_only_training_streams_augment():
    streams = open_streams(DataConfig(), batch_size=64)
    assert (streams.train.training, streams.search.training) == (True, True)
    assert (streams.selection.training, streams.test.training) == (False, False)
    assert (streams.train.shift, streams.test.shift) == (1, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: training_stream(batch_size=0), ConfigError, "batch_size >= 1"),
        (lambda: training_stream(batch_size=2000), DataError, "at most the 1006 samples of digits's train part"),
        (lambda: training_stream(part="validation"), ConfigError, "part to be one of train, search"),
        (lambda: training_stream().batches(-1), ConfigError, "epoch >= 0"),
        (lambda: training_stream().batches(0, 16), ConfigError, "start_batch >= 0 and <= 15"),
        (lambda: iter(training_stream()), ConfigError, "repeat one epoch's order"),
    ],
)
def test_a_stream_refuses_what_it_cannot_do(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.gpu
def test_cuda_gives_the_same_batches_as_the_cpu():
    bundle = with_augmentation(2, True)
    normalisation = Normalisation(mean=(0.3,), deviation=(0.4,))
    here = training_stream(bundle, normalisation=normalisation)
    there = training_stream(bundle, normalisation=normalisation, device="cuda")
    for (x, y), (x_there, y_there) in zip(here.batches(2), there.batches(2), strict=True):
        assert x_there.device.type == "cuda"
        assert torch.allclose(x, x_there.cpu(), atol=1e-6)
        assert torch.equal(y, y_there.cpu())
