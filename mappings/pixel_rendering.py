"""Frames -> images that anybody can look at (PS3.18 8.3.5 and 8.7.4). For processes with limits only."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from gateway.errors import InvalidContent, NotAcceptable
from mappings.dicom_layout import Layout, open_layout
from mappings.dicom_values import items, number
from mappings.pixel_cells import Pixels, bits_of, values_of
from mappings.pixel_decoding import decode
from mappings.pixel_frames import FRAME_GROUPS, SHARED_GROUPS, PixelFrames, find_frames
from mappings.pixel_grey import Window, display_levels

JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
MAX_SIDE = 8192
MAX_ANIMATED_FRAMES = 512
_FRAME_MILLISECONDS = 40
_MAX_GROUP_BYTES = 4 * 1024 * 1024
_FUNCTIONAL = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_KEYWORDS = (
    *(
        "RescaleSlope",
        "RescaleIntercept",
        "ModalityLUTSequence",
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
    ),
    *("VOILUTSequence", "PresentationLUTShape", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RepresentativeFrameNumber", "FrameTime", "RecommendedDisplayFrameRate"),
    *(
        f"{kind}{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ),
)
_DISPLAY = frozenset(tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)))


@dataclass(frozen=True, slots=True)
class Viewport:
    """The largest size of the image, and what of the source is shown: x, y, width, height (8.3.5.1.3).

    Negative width or height of the source mirror it. 0 stands for the whole width or height.
    """

    width: int
    height: int
    source: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def render(
    source: BinaryIO,
    sink: BinaryIO,
    frames: list[int],
    media_type: str,
    quality: int,
    window: list[Any] | None = None,
    viewport: list[Any] | None = None,
) -> dict[str, list[int]]:
    """A job: the frames of a file as images, one after another, and their sizes in bytes.

    No ``frames`` are the representative one; as GIF every frame is one moving image. Raises NotAcceptable, NotFound.
    """
    shown = Viewport(viewport[0], viewport[1], tuple(viewport[2:6])) if viewport else None
    wanted = Window(*window) if window else None
    with open_layout(source) as layout:
        found = find_frames(layout, _DISPLAY)
        if media_type == GIF:
            return {"sizes": [_write_moving(found, sink, frames, wanted, shown)]}
        sizes = []
        for frame in frames or [representative_frame(found)]:
            image = _framed(_image(found, frame, wanted), shown)
            before = sink.tell()
            _SAVE[media_type](image, sink, quality)
            sizes.append(sink.tell() - before)
        return {"sizes": sizes}


def representative_frame(frames: PixelFrames) -> int:
    """Representative Frame Number (0028,6010), or the first."""
    told = number(frames.attributes, "RepresentativeFrameNumber") or 1
    return told if 1 <= told <= frames.description.frames else 1


def _image(frames: PixelFrames, frame: int, window: Window | None) -> Image.Image:
    pixels = values_of(frames, decode(frames, frame, as_rgb=True)[0])
    if pixels.ndim == 3:
        return Image.fromarray(_eight_bits(pixels, bits_of(frames).stored))
    if frames.description.photometric_interpretation == "PALETTE COLOR":
        return Image.fromarray(_coloured(pixels, frames))
    return Image.fromarray(display_levels(pixels, _of_frame(frames, frame), window))


def _eight_bits(pixels: Pixels, bits: int) -> Pixels:
    return pixels.astype(np.uint8) if bits <= 8 else (pixels >> (bits - 8)).astype(np.uint8)


def _coloured(pixels: Pixels, frames: PixelFrames) -> Pixels:
    """By the palette (C.7.9, C.7.6.3.1.5); its entries have 8 or 16 bits, or 16 of which 8 are used."""
    ds = frames.attributes if frames.layout.is_little else _swapped_palette(frames.attributes)
    try:
        colours = apply_color_lut(pixels, ds)[..., :3]
        bits = int(ds.RedPaletteColorLookupTableDescriptor[2])
    except Exception as error:
        raise NotAcceptable("The image's palette of colours cannot be read.") from error
    return _eight_bits(colours, 8 if colours.max(initial=0) < 256 else bits)


def _swapped_palette(ds: Dataset) -> Dataset:
    """pydicom reads the entries as little endian."""
    found = _over(ds, Dataset())
    for colour in ("Red", "Green", "Blue"):
        keyword = f"{colour}PaletteColorLookupTableData"
        if isinstance(value := found.get(keyword), bytes) and len(value) % 2 == 0:
            setattr(found, keyword, np.frombuffer(value, "<u2").byteswap().tobytes())
    return found


def _of_frame(frames: PixelFrames, frame: int) -> Dataset:
    """The attributes of the instance, and over them those of its functional groups for that frame (C.7.6.16)."""
    ds = frames.attributes
    for group in _functional_groups(frames, frame):
        for keyword in _FUNCTIONAL:
            for item in items(group, keyword)[:1]:
                ds = _over(ds, item)
    return ds


def _over(ds: Dataset, item: Dataset) -> Dataset:
    found = Dataset()
    found.update(ds)
    found.update(item)
    return found


def _functional_groups(frames: PixelFrames, frame: int) -> list[Dataset]:
    places = {SHARED_GROUPS: 1, FRAME_GROUPS: frame}
    return [_item(frames.layout, element, places[element.tag]) for element in frames.functional_groups]


def _item(layout: Layout, element: Any, wanted: int) -> Dataset:
    for place, item in enumerate(layout.items(element), start=1):
        if place == wanted and item.end - item.start <= _MAX_GROUP_BYTES:
            return item.parse(item.buffer[item.start : item.end])
    return Dataset()


def _framed(image: Image.Image, viewport: Viewport | None) -> Image.Image:
    if viewport is None:
        return image
    left, top, width, height = viewport.source
    box = (left, top, left + (abs(width) or image.width - left), top + (abs(height) or image.height - top))
    box = (*box[:2], min(box[2], image.width), min(box[3], image.height)) if _is_rounded(box, image) else box
    if not (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height):
        raise InvalidContent(
            f"The region is not inside the image of {image.width} columns and {image.height} rows."
        )
    scale = min(viewport.width / (box[2] - box[0]), viewport.height / (box[3] - box[1]))
    size = (_scaled(box[2] - box[0], scale), _scaled(box[3] - box[1], scale))
    if size != image.size or box != (0, 0, *image.size):
        image = image.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=3.0)
    if width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if height < 0 else image


def _is_rounded(box: tuple[float, float, float, float], image: Image.Image) -> bool:
    """Whether it passes the image by no more than numbers are rounded, as of WADO-URI's parts of an image."""
    return max(box[2] - image.width, box[3] - image.height) < 1e-6


def _scaled(side: float, scale: float) -> int:
    return max(1, math.floor(side * scale + 1e-6))


def _write_moving(
    found: PixelFrames, sink: BinaryIO, frames: list[int], window: Window | None, viewport: Viewport | None
) -> int:
    numbers = frames or range(1, found.description.frames + 1)
    if len(numbers) > MAX_ANIMATED_FRAMES:
        raise NotAcceptable(
            f"A moving image is made of {MAX_ANIMATED_FRAMES} frames at most; ask for some of them."
        )
    images = (_framed(_image(found, frame, window), viewport) for frame in numbers)
    first = next(images)
    first.save(sink, "GIF", save_all=True, append_images=images, duration=_duration(found.attributes), loop=0)
    return sink.tell()


def _duration(ds: Dataset) -> int:
    """Milliseconds a frame: Recommended Display Frame Rate (0008,2144), Frame Time (0018,1063)."""
    rate, time = number(ds, "RecommendedDisplayFrameRate"), number(ds, "FrameTime")
    milliseconds = 1000 // rate if rate and rate > 0 else time
    return max(milliseconds, 10) if milliseconds else _FRAME_MILLISECONDS


def _save_jpeg(image: Image.Image, sink: BinaryIO, quality: int) -> None:
    image.save(sink, "JPEG", quality=quality, subsampling=0)


def _save_png(image: Image.Image, sink: BinaryIO, _: int) -> None:
    image.save(sink, "PNG", compress_level=4)


_SAVE: dict[str, Callable[[Image.Image, BinaryIO, int], None]] = {JPEG: _save_jpeg, PNG: _save_png}
