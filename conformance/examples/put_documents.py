#!/usr/bin/env python3
"""Renders documents/*.html to PDF and puts each into the bundles, as the attachment of the DocumentReference
whose identifier is the file's name, with its size and SHA-1 hash.

Run it after a document was changed: .venv/bin/python conformance/examples/put_documents.py
"""

import base64
import hashlib
import io
import json
import subprocess
from pathlib import Path

from fontTools import subset
from weasyprint import CSS, HTML
from weasyprint.text.fonts import FontConfiguration

HERE = Path(__file__).resolve().parent


def main() -> None:
    pdfs = {html.stem: to_pdf(html) for html in sorted((HERE / "documents").glob("*.html"))}
    for file in sorted(HERE.glob("*.json")):
        bundle = json.loads(file.read_text("utf-8"))
        for entry in bundle["entry"]:
            put(entry.get("resource", {}), pdfs)
        file.write_text(json.dumps(bundle, ensure_ascii=False, indent=2) + "\n", "utf-8")


def to_pdf(html: Path) -> bytes:
    """The fonts for Japanese are large: only the characters that the document has are handed on."""
    fonts = FontConfiguration()
    face = f'@font-face {{ font-family: Few; src: url("{few_characters(html.read_text("utf-8"))}") }}'
    return bytes(
        HTML(filename=html).write_pdf(stylesheets=[CSS(string=face, font_config=fonts)], font_config=fonts)
    )


def few_characters(text: str) -> str:
    """A data: URL of Noto Sans CJK JP with the characters of ``text``."""
    query = ["fc-match", "-f", "%{file}\n%{index}", "Noto Sans CJK JP:lang=ja"]
    path, index = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")
    options = subset.Options(
        font_number=int(index) & 0xFFFF,
        hinting=False,
        layout_features=[],
        drop_tables=["GPOS", "GSUB", "BASE"],
    )
    font = subset.load_font(path, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=" " + "".join(c for c in text if c.isprintable()))
    subsetter.subset(font)
    file = io.BytesIO()
    font.save(file)
    return "data:font/otf;base64," + base64.b64encode(file.getvalue()).decode()


def put(resource: dict, pdfs: dict[str, bytes]) -> None:
    if resource.get("resourceType") != "DocumentReference":
        return
    for identifier in resource["identifier"]:
        if pdf := pdfs.get(identifier["value"]):
            digest = hashlib.sha1(pdf, usedforsecurity=False).digest()
            resource["content"][0]["attachment"] |= {
                "data": base64.b64encode(pdf).decode(),
                "size": len(pdf),
                "hash": base64.b64encode(digest).decode(),
            }


if __name__ == "__main__":
    main()
