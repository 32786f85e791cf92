"""A tile is stored at its full size, packed and compressed: decoders that nobody here wrote find what was put in."""

import itertools
import zlib
from typing import get_args

import imagecodecs
import numpy as np
import pytest

from streamgmm.image.output.codec import CODECS, decode_tile, encode_samples, encode_tile
from streamgmm.options import COMPRESSION_LEVELS, Compression

from .examples import KINDS, colors_of, image_of, random_labels, spec_of

DECODERS = {
    "none": bytes,
    "deflate": zlib.decompress,
    "lzw": imagecodecs.lzw_decode,
    "zstd": imagecodecs.zstd_decode,
    "packbits": imagecodecs.packbits_decode,
}


def test_there_is_a_codec_for_every_compression():
    assert set(CODECS) == set(DECODERS) == set(get_args(Compression))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", DECODERS)
@pytest.mark.parametrize("shape", [(32, 48), (5, 48), (32, 7), (1, 1)])
@pytest.mark.parametrize("nodata", [None, 7])
def test_a_tile_is_encoded_at_its_full_size(nodata, shape, compression, dtype):
    labels = random_labels(*shape).astype(dtype)
    spec = spec_of(labels, compression=compression, nodata=nodata)
    data = DECODERS[compression](encode_tile(labels, spec))
    tile = np.frombuffer(data, dtype).reshape(spec.tile).astype(int)
    np.testing.assert_array_equal(tile[: shape[0], : shape[1]], labels)
    tile[: shape[0], : shape[1]] = nodata or 0
    assert (tile == (nodata or 0)).all()


def test_a_tile_that_is_a_view_is_encoded_as_it_looks():
    labels = random_labels(64, 96)
    view = labels[::2, ::2]
    assert encode_tile(view, spec_of(labels, compression="none")) == view.tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_are_packed_from_the_highest_bits_of_a_byte(bits):
    labels = np.random.default_rng(0).integers(0, 2**bits, (32, 48)).astype(np.uint8)
    spec = spec_of(labels, n_colors=2**bits, bits=bits, compression="none")
    digits = "".join(f"{label:0{bits}b}" for label in labels.ravel())
    assert encode_tile(labels, spec) == int(digits, 2).to_bytes(len(digits) // 8, "big")


@pytest.mark.parametrize("nodata", [None, 2])
def test_a_tile_of_form_rgb_holds_the_colors(nodata):
    palette = np.array([[1, 2, 3], [0, 0, 0]], np.uint8)
    colors = {0: (1, 2, 3), 1: (0, 0, 0)} if nodata is None else {0: (1, 2, 3, 255), 1: (0, 0, 0, 255), 2: (0, 0, 0, 0)}
    labels = np.random.default_rng(0).choice(list(colors), (32, 48)).astype(np.uint8)
    spec = spec_of(labels, form="rgb", palette=palette, nodata=nodata, compression="none")
    data = encode_tile(labels, spec)
    assert data == bytes(itertools.chain.from_iterable(colors[label] for label in labels.ravel()))
    codes = {label: int.from_bytes(bytes(color), "little") for label, color in colors.items()}
    assert decode_tile(data, spec).tolist() == [[codes[label] for label in row] for row in labels]


def test_packbits_begins_anew_in_every_row():
    labels = np.zeros((32, 48), np.uint8)
    assert encode_tile(labels, spec_of(labels, compression="packbits")) == bytes([257 - 48, 0]) * 32


@pytest.mark.parametrize("compression", DECODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_a_tile_undoes_encoding_it(kind, compression):
    labels, spec = image_of(kind, 30, 40, compression=compression)
    data = encode_tile(labels, spec)
    tile = decode_tile(data, spec)
    assert tile.shape == spec.tile
    assert tile.dtype == spec.sample_dtype
    if spec.form != "rgb":
        np.testing.assert_array_equal(tile[:30, :40], labels)
    else:
        colors = colors_of(labels, spec)
        np.testing.assert_array_equal(tile[:30, :40].copy().view(np.uint8).reshape(30, 40, 4)[..., : colors.shape[2]], colors)
    np.testing.assert_array_equal(tile[30:], spec.masked_sample or 0)
    assert encode_samples(tile, spec) == encode_samples(tile[:30, :40], spec) == data


@pytest.mark.parametrize(
    ("compression", "level"), [(codec, level) for codec, levels in COMPRESSION_LEVELS.items() for level in levels]
)
def test_every_level_of_a_codec_holds_the_same(compression, level):
    labels, spec = image_of("8 bits", 32, 48, compression=compression, compression_level=level)
    assert DECODERS[compression](encode_tile(labels, spec)) == labels.tobytes()


@pytest.mark.parametrize(("compression", "default"), [("deflate", 4), ("zstd", 9)])
def test_the_level_of_a_codec_is_used_and_has_a_default(compression, default):
    levels = COMPRESSION_LEVELS[compression]

    def encoded(level):
        return encode_tile(*image_of("8 bits", 512, 512, compression=compression, compression_level=level, tile=(512, 512)))

    assert encoded(None) == encoded(default)
    assert len(encoded(levels[-1])) < len(encoded(default)) < len(encoded(levels[0]))
