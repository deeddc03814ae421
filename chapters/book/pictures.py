"""README's and the front page's pictures: those of chapter 10, made small.

    python chapters/ch10_train_vae.py --out out/ch10 && python chapters/book/pictures.py out/ch10
"""

import sys
from pathlib import Path

from PIL import Image

from minivae.console import readable

HERE = Path(__file__).parent / "static"
NAMES = ("manifold", "samples", "latents")
HEIGHT = 480


def main(folder: str = "out/ch10") -> None:
    readable()
    for name in NAMES:
        picture = Image.open(Path(folder) / f"{name}.png").convert("RGB")
        width = round(picture.width * HEIGHT / picture.height)
        small = picture.resize((width, HEIGHT), Image.Resampling.LANCZOS).quantize(160, dither=Image.Dither.NONE)
        small.save(HERE / f"{name}.png", optimize=True)
        print(f"{HERE / name}.png: {width}×{HEIGHT}, {(HERE / f'{name}.png').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
