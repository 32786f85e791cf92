"""Write a photo-like RGB TIFF of any size, tile by tile: the image of the benchmarks.

A photograph is laid side by side, mirrored, each time under another light and with new sensor noise, so that detail, noise
and the number of distinct colors (5 million in a gigapixel) are those of a mosaic of photographs. The same arguments give
the same bytes.
"""

import argparse
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

PHOTO = Path(__file__).parents[1] / "tests" / "data" / "astronaut.tif"
TILE = 512
THREADS = 2


def light_of(row: int, column: int, seed: int) -> np.ndarray:
    """Return a table (256, 3) of the values that samples of a photo take under the light of one place."""
    generator = np.random.default_rng([seed, row, column])
    gain, gamma = generator.uniform(0.75, 1.1, 3), generator.uniform(0.8, 1.25)
    values = np.linspace(0, 1, 256)[:, None] ** gamma * gain
    return np.clip(values * 255, 0, 255).astype(np.int16)


def tile_of(photo: np.ndarray, row: int, column: int, seed: int) -> np.ndarray:
    """Return the tile at a place of the mosaic, shape (512, 512, 3), uint8."""
    light = light_of(row, column, seed)
    tile = photo[:: -1 if row % 2 else 1, :: -1 if column % 2 else 1]
    tile = np.stack([light[:, band][tile[..., band]] for band in range(3)], axis=-1)
    noise = np.random.default_rng([seed, row, column, 1]).integers(-2, 3, tile.shape, np.int8)
    return np.clip(tile + noise, 0, 255).astype(np.uint8)


def encode(tile: np.ndarray, compression: str) -> bytes:
    """Encode a tile as TIFF readers expect it; Deflate with predictor 2."""
    if compression == "none":
        return tile.tobytes()
    return imagecodecs.deflate_encode(imagecodecs.delta_encode(tile, axis=-2), level=6)


def encoded_tiles(size: int, period: int, compression: str, seed: int) -> Iterator[bytes]:
    """Yield the encoded tiles row by row, a few ahead in threads."""
    photo = tifffile.imread(PHOTO)
    columns, repeat = size // TILE, period // TILE
    places = ((row % repeat, column % repeat) for row in range(columns) for column in range(columns))
    with ThreadPoolExecutor(THREADS) as pool:
        ahead: deque = deque()
        for row, column in places:
            ahead.append(pool.submit(lambda r, c: encode(tile_of(photo, r, c, seed), compression), row, column))
            if len(ahead) > 4 * THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def write_image(path: Path, size: int, period: int | None = None, compression: str = "deflate", seed: int = 0) -> None:
    """Write a square image whose side is a multiple of 512; with a period, the same square of that side again and again."""
    with tifffile.TiffWriter(path, bigtiff=size * size * 3 > 2**32) as writer:
        writer.write(
            encoded_tiles(size, period or size, compression, seed),
            shape=(size, size, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="rgb",
            compression=None if compression == "none" else "adobe_deflate",
            predictor=compression != "none",
            metadata=None,
            software=False,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=8192, help="side in pixels, a multiple of 512 (8192)")
    parser.add_argument("--period", type=int, help="repeat a square of this side")
    parser.add_argument("--compression", choices=["deflate", "none"], default="deflate")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.size % TILE or (arguments.period or 0) % TILE:
        parser.error(f"sides are multiples of {TILE}")
    write_image(arguments.output, arguments.size, arguments.period, arguments.compression, arguments.seed)


if __name__ == "__main__":
    main()
