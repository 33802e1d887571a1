"""Query parameters of rendered resources (PS3.18 8.3.5). What is no value for one is refused in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.dicomweb.warning import passed_over
from gateway.errors import InvalidContent

DEFAULT_QUALITY = 90
MAX_SIDE = 8192
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_NOT_DRAWN = {
    "annotation": "annotation is not drawn: the image is given without it.",
    "iccprofile": "iccprofile is not heeded: colours are given as they are, without a profile.",
}
_KNOWN = frozenset({"accept", "charset", "quality", "window", "viewport", *_NOT_DRAWN})


@dataclass
class Look:
    """How an image is to look. ``window`` is center, width and function; ``viewport`` width, height and the source's

    x, y, width, height, where 0 stands for all of it. ``warnings`` are for the peer.
    """

    quality: int = DEFAULT_QUALITY
    window: tuple[float, float, str] | None = None
    viewport: tuple[float, ...] | None = None
    warnings: list[str] = field(default_factory=list)

    def parameters(self) -> dict[str, Any]:
        """For the job that renders."""
        return {"quality": self.quality, "window": self.window, "viewport": self.viewport}


def read_look(asked: Mapping[str, str]) -> Look:
    """Raises InvalidContent."""
    look = Look(warnings=[words for name, words in _NOT_DRAWN.items() if name in asked])
    look.warnings += [passed_over(name, "resource") for name in asked if name not in _KNOWN]
    if "quality" in asked:
        look.quality = read_quality(asked["quality"], "quality")
    if "window" in asked:
        look.window = _window(asked["window"])
    if "viewport" in asked:
        look.viewport = _viewport(asked["viewport"])
    return look


def read_quality(told: str, name: str) -> int:
    if not told.isdecimal() or not told.isascii() or not 1 <= int(told[:4]) <= 100:
        raise InvalidContent(f"{name} is a whole number from 1 to 100.")
    return int(told)


def read_window(center: str, width: str, function: str, name: str) -> tuple[float, float, str]:
    """PS3.3 C.11.2.1.2, C.11.2.1.3: the narrowest linear window is 1, of the others any above 0."""
    found = (_number(center, name), _number(width, name), _FUNCTIONS.get(function.lower(), ""))
    if not found[2]:
        raise InvalidContent(f"The function of {name} is one of {', '.join(_FUNCTIONS)}.")
    if found[1] <= 0 or (found[2] == "LINEAR" and found[1] < 1):
        raise InvalidContent(
            f"The width of {name} is 1 or more, and above 0 where the function is not linear."
        )
    return found


def _window(told: str) -> tuple[float, float, str]:
    parts = told.split(",")
    if len(parts) not in (2, 3):
        raise InvalidContent("window is center,width,function, such as window=40,400,linear.")
    return read_window(parts[0], parts[1], parts[2] if len(parts) == 3 else "linear", "window")


def _viewport(told: str) -> tuple[float, ...]:
    parts = told.split(",")
    if len(parts) not in (2, 6):
        raise InvalidContent("viewport is width,height or width,height,x,y,width,height.")
    width, height = (_side(part) for part in parts[:2])
    if len(parts) == 2:
        return (width, height, 0.0, 0.0, 0.0, 0.0)
    x, y, shown_width, shown_height = (_number(part or "0", "viewport") for part in parts[2:])
    if x < 0 or y < 0 or (parts[4] and not shown_width) or (parts[5] and not shown_height):
        raise InvalidContent("The region of viewport begins at 0 or more, and has a width and a height.")
    return (width, height, x, y, shown_width, shown_height)


def _side(told: str) -> int:
    plain = told.strip()
    if not plain.isdecimal() or not plain.isascii() or not 1 <= int(plain[:6]) <= MAX_SIDE:
        raise InvalidContent(f"The width and height of viewport are whole numbers from 1 to {MAX_SIDE}.")
    return int(plain)


def _number(told: str, name: str) -> float:
    try:
        found = float(told)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or abs(found) > 1e12:
        raise InvalidContent(f"{name} has something that is no number.")
    return found
