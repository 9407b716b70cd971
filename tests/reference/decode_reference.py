"""Reference values of decoded pixels, from astropy, Pillow and tifffile.

Writes decode_reference.json beside this file: for every file of the test data's fits/ and formats/ folders the frames a
reader must find, each as shape, minimum, maximum, float64 sum, count of NaN, and the BLAKE3 of its little-endian float32
values (every NaN as 0x7fc00000). The Rust tests compare against that file, so they need no Python.

Usage: python decode_reference.py DATA_FOLDER
"""

import json
import sys
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from astropy.io import fits
from blake3 import blake3
from PIL import Image

warnings.simplefilter("ignore")


def summary(plane):
    """What is compared of one frame: `plane` is [H, W] or [C, H, W]."""
    values = np.ascontiguousarray(plane, dtype="<f4")
    nan = np.isnan(values)
    values = values.copy()
    values.view("<u4")[nan] = 0x7FC00000
    finite = values[np.isfinite(values)].astype("f8")
    return {
        "shape": list(values.shape),
        "nan": int(nan.sum()),
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "sum": float(finite.sum()),
        "blake3": blake3(values.tobytes()).hexdigest(),
    }


def fits_frames(path):
    """Every plane of every image HDU of two or more axes, in the file's order."""
    frames = []
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus:
            if not isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)) or hdu.data is None:
                continue
            data = np.asarray(hdu.data)
            if data.ndim < 2 or data.size == 0:
                continue
            frames += [summary(plane) for plane in data.reshape((-1,) + data.shape[-2:])]
    return frames


def planar(pixels):
    """[H, W, C] to [C, H, W], alpha dropped; [H, W] as it is."""
    if pixels.ndim == 2:
        return pixels
    colours = 1 if pixels.shape[2] < 3 else 3
    planes = np.moveaxis(pixels[:, :, :colours], 2, 0)
    return planes[0] if colours == 1 else planes


def png_frames(path):
    """Stored values: no gamma, no rescale to another depth; palettes expanded to RGB."""
    with Image.open(path) as image:
        depth, colour = path.read_bytes()[24], path.read_bytes()[25]
        if colour == 3:
            return [summary(planar(np.asarray(image.convert("RGB"))))]
        if depth == 16:  # Pillow narrows 16-bit RGB, and grey with alpha, to 8 bits
            return [summary(planar(imagecodecs.png_decode(path.read_bytes())))]
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        if depth < 8:  # Pillow stretches 1, 2 and 4 bits to 0..255
            pixels = pixels // (255 // (2**depth - 1))
        return [summary(planar(pixels))]


def tiff_frames(path):
    """Every page; white-is-zero inverted within the sample's range; palettes expanded to 16-bit RGB."""
    frames = []
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            pixels = page.asarray()
            if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
                pixels = np.moveaxis(np.asarray(page.colormap)[:, pixels], 0, 2)
            elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind == "u":
                pixels = 2**page.bitspersample - 1 - pixels.astype("i8")
            if pixels.ndim == 3 and page.planarconfig == 2:
                pixels = np.moveaxis(pixels, 0, 2)
            frames.append(summary(planar(pixels.astype("f4"))))
    return frames


READERS = {"fits": fits_frames, "formats/pngsuite": png_frames, "formats/tiff": tiff_frames, "formats/misc": tiff_frames}


def main(folder):
    reference = {}
    for part, read in READERS.items():
        for path in sorted(p for p in (folder / part).rglob("*") if p.is_file()):
            if part == "formats/misc" and path.suffix != ".tif":
                continue
            try:
                reference[str(path.relative_to(folder))] = read(path)
            except Exception as error:  # noqa: BLE001 the reference reader refuses it: so may ours
                reference[str(path.relative_to(folder))] = f"{type(error).__name__}: {str(error)[:80]}"
    text = ",\n".join(f" {json.dumps(name)}: {json.dumps(frames)}" for name, frames in reference.items())
    (Path(__file__).parent / "decode_reference.json").write_text("{\n" + text + "\n}\n")


main(Path(sys.argv[1]))
