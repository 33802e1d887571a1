"""``python -m gateway.demo FOLDER`` writes the imaging of the sample case as DICOM files, to send by hand."""

import json
import sys
from pathlib import Path

import click

from gateway.demo.imaging import ct_series, ultrasound
from gateway.demo.stage import example


def main(folder: Path) -> None:
    referral = json.loads(example("referral-transaction.json"))
    for name, instances in (("ct", ct_series(referral)), ("us", ultrasound(referral))):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        for ds in instances:
            ds.save_as(target / f"{ds.InstanceNumber:03}.dcm", enforce_file_format=True)
        click.echo(f"{len(instances)} files in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m gateway.demo FOLDER")
    main(Path(sys.argv[1]))
