"""README's and the front page's pictures, made small: those of chapter 10, and README's comparison of all models.

    python chapters/ch10_train_vae.py --out out/ch10 && python chapters/book/pictures.py out/ch10
    minivae compare … --out out/compare && python chapters/book/pictures.py out/compare
"""

import sys
from pathlib import Path

from PIL import Image

from minivae.console import readable

HERE = Path(__file__).parent / "static"
SMALL = {"manifold": (480, 160), "samples": (480, 160), "latents": (480, 160), "comparison": (860, 32)}      # rows, colours


def main(folder: str = "out/ch10") -> None:
    readable()
    found = [path for path in sorted(Path(folder).glob("*.png")) if path.stem in SMALL]
    if not found:
        raise SystemExit(f"{folder}: has none of {', '.join(SMALL)}")
    for path in found:
        picture = Image.open(path).convert("RGB")
        height, colours = SMALL[path.stem]
        size = round(picture.width * height / picture.height), height
        small = picture.resize(size, Image.Resampling.LANCZOS).quantize(colours, dither=Image.Dither.NONE)
        small.save(HERE / path.name, optimize=True)
        print(f"{HERE / path.name}: {size[0]}×{height}, {(HERE / path.name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
