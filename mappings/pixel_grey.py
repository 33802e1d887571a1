"""Stored values of a grey image -> grey levels for display, by the transformations of PS3.3 C.11 and PS3.4 N.2."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from mappings.dicom_values import PYDICOM_ERRORS, decimals, element_of, items, number, text

Values = np.ndarray[Any, np.dtype[np.float64]]
Levels = np.ndarray[Any, np.dtype[np.uint8]]

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
_LARGEST_TABLE = 65536
_BLOCK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Window:
    """Window Center, Window Width, VOI LUT Function (C.11.2.1.2, C.11.2.1.3), in units of the Modality LUT's output."""

    center: float
    width: float
    function: str = LINEAR


def display_levels(pixels: Any, ds: Dataset, window: Window | None) -> Levels:
    """0 to 255, 0 is black. ``ds`` has the attributes that hold for the frame; ``window`` takes the place of its VOI.

    Each different stored value is transformed once, where there are not too many.
    """
    bits = number(ds, "BitsStored") or 8 * pixels.dtype.itemsize
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 2:
        return _levels(pixels.astype(np.float64), pixels, ds, window, bits)
    lowest = int(pixels.min())
    values = np.arange(lowest, int(pixels.max()) + 1, dtype=np.float64)
    return _by_table(pixels, lowest, _levels(values, pixels, ds, window, bits))


def _by_table(pixels: Any, lowest: int, table: Levels) -> Levels:
    """A block of rows at a time: indices are eight times as large as pixels, and their memory is used again."""
    rows = max(1, _BLOCK // pixels.shape[1])
    indices = np.empty((rows, pixels.shape[1]), np.intp)
    levels = np.empty(pixels.shape, np.uint8)
    for at in range(0, pixels.shape[0], rows):
        block = pixels[at : at + rows]
        wanted = indices[: block.shape[0]]
        np.subtract(block, lowest, out=wanted, dtype=np.intp)
        table.take(wanted, out=levels[at : at + rows], mode="clip")
    return levels


def _levels(values: Values, pixels: Any, ds: Dataset, window: Window | None, bits: int) -> Levels:
    modality = _modality(values, ds)
    shades = _voi(modality, ds, window, pixels.dtype.kind == "f")
    if shades is None:
        shades = _full_range(modality, pixels, ds, bits)
    if _is_inverse(ds):
        shades = 1.0 - shades
    return np.rint(np.clip(shades, 0.0, 1.0) * 255.0).astype(np.uint8)


def _modality(values: Values, ds: Dataset) -> Values:
    """Modality LUT Sequence, or Rescale Slope and Intercept (C.11.1)."""
    for item in items(ds, "ModalityLUTSequence")[:1]:
        table = _table(item)
        if table is not None:
            return _looked_up(values, *table)
    slope, intercept = decimals(ds, "RescaleSlope"), decimals(ds, "RescaleIntercept")
    if slope and slope[0]:
        values = values * slope[0]
    return values + intercept[0] if intercept else values


def _voi(values: Values, ds: Dataset, window: Window | None, is_float: bool) -> Values | None:
    """Values of interest as 0.0 to 1.0; None where the image tells none."""
    if window is not None:
        return _windowed(values, window)
    for item in items(ds, "VOILUTSequence")[:1]:
        table = _table(item)
        if table is not None:
            first, entries, largest = table
            return _looked_up(values, first, entries, largest) / largest
    told = window_of(ds)
    if told is not None and told.function == LINEAR and is_float:  # whose -0.5 and -1 are for whole numbers
        told = Window(told.center, told.width, LINEAR_EXACT)
    return None if told is None else _windowed(values, told)


def window_of(ds: Dataset) -> Window | None:
    """The first window that the image tells, where it is one."""
    centers, widths = decimals(ds, "WindowCenter"), decimals(ds, "WindowWidth")
    function = text(ds, "VOILUTFunction").upper() or LINEAR
    if not centers or not widths or widths[0] < (1 if function == LINEAR else np.finfo(float).tiny):
        return None
    return Window(centers[0], widths[0], function)


def _windowed(values: Values, window: Window) -> Values:
    center, width = window.center, window.width
    if window.function == SIGMOID:
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if window.function == LINEAR_EXACT:
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if width <= 1.0:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _full_range(values: Values, pixels: Any, ds: Dataset, bits: int) -> Values:
    """Of 8 bits the whole range, which is how screenshots and ultrasound are meant; of more, what the frame has."""
    if pixels.dtype.kind == "u" and bits <= 8 and not decimals(ds, "RescaleSlope"):
        return values / float(2**bits - 1)
    seen = _modality(_extremes(pixels, ds), ds)
    low, high = float(seen.min()), float(seen.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _extremes(pixels: Any, ds: Dataset) -> Values:
    """The lowest and highest stored value that is no padding (C.7.5.1.1.2)."""
    padding, limit = number(ds, "PixelPaddingValue"), number(ds, "PixelPaddingRangeLimit")
    seen = pixels
    if padding is not None:
        ends = sorted((padding, padding if limit is None else limit))
        without = pixels[(pixels < ends[0]) | (pixels > ends[1])]
        seen = without if without.size else pixels
    finite = seen[np.isfinite(seen)] if seen.dtype.kind == "f" else seen
    if not finite.size:
        return np.zeros(2)
    return np.array([finite.min(), finite.max()], dtype=np.float64)


def _is_inverse(ds: Dataset) -> bool:
    """The lowest value is white: MONOCHROME1 (C.7.6.3.1.2), which Presentation LUT Shape INVERSE says again."""
    return (
        "MONOCHROME1" in text(ds, "PhotometricInterpretation")
        or text(ds, "PresentationLUTShape") == "INVERSE"
    )


def _table(item: Dataset) -> tuple[int, Values, float] | None:
    """First value mapped, entries and the largest that an entry can be, of a LUT Descriptor and LUT Data (C.11.1.1)."""
    descriptor, content = element_of(item, "LUTDescriptor"), element_of(item, "LUTData")
    if descriptor is None or content is None:
        return None
    order = ">" if item.original_encoding[1] is False else "<"
    try:
        count, first, bits = (int(value) for value in descriptor.value)
        entries = _entries(content.value, count or _LARGEST_TABLE, order)
    except PYDICOM_ERRORS:
        return None
    if not entries.size or not 0 < bits <= 16:
        return None
    return first, entries, float(2**bits - 1)


def _entries(content: Any, count: int, order: str) -> Values:
    """LUT Data is US or OW, and in some files one byte an entry."""
    if not isinstance(content, bytes):
        return np.asarray(content, dtype=np.float64).ravel()[:count]
    kind = "u1" if len(content) < 2 * count else f"{order}u2"
    return np.frombuffer(content, kind)[:count].astype(np.float64)


def _looked_up(values: Values, first: int, entries: Values, _largest: float = 0.0) -> Values:
    if first >= 2**15 and values.size and values.min() < 0:  # signed, and read as unsigned
        first -= 2**16
    places = np.clip(np.rint(values) - first, 0, entries.size - 1).astype(np.int64)
    found: Values = entries[places]
    return found
