import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from lab.probe import encode_images
from lab.probe.pictures import MOST_BYTES


def decode(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_small_images_are_kept_bit_for_bit_and_enlarged_by_whole_pixels():
    x = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8) * 4
    found = decode(encode_images(x)[0])
    assert found.shape == (32, 32, 3)
    assert (found[::4, ::4, 0] == x[0, 0].numpy()).all()
    assert (found[:4, :4] == found[0, 0]).all()


def test_float_images_span_black_to_white():
    found = decode(encode_images(torch.tensor([-2.0, 0.0, 2.0, 2.0]).reshape(1, 1, 2, 2))[0])
    assert sorted(set(found.flatten().tolist())) == [0, 128, 255]


@pytest.mark.parametrize("shape", [(40, 3, 32, 32), (40, 3, 224, 200), (40, 5, 16, 16)])
def test_forty_images_of_any_size_stay_within_the_bound(shape):
    noise = torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = encode_images(noise)
    assert len(found) == 40
    assert sum(len(base64.b64decode(each)) for each in found) <= MOST_BYTES
    assert max(decode(found[0]).shape[:2]) <= 32
