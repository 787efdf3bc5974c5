"""What is on this machine brought into object storage: `upload`."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfbench.commands.setup import make_reporter
from dfbench.errors import UserError
from dfbench.storage.url import Url, place


def upload(args: argparse.Namespace) -> None:
    """Send prepared data or results of this machine into object storage, to be used from there.

    Commands whose --data-dir and --runs-dir are URLs send by themselves what they make: this is for
    folders that were made without. What is unfinished stays here. What is there already is not sent
    again.

    Examples:
      dfbench upload ~/.cache/dfbench/data s3://BUCKET/data
      dfbench upload runs gs://BUCKET/runs
    """
    if not isinstance(args.url, Url):
        raise UserError(f"{args.url}: has to be a URL such as s3://BUCKET/runs")
    from dfbench.workflow.upload import upload as send

    folders, new = send(args.folder, args.url, make_reporter())
    print(f"{folders} folders with data or results, {new} of them sent: {args.url}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `upload`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="prepared data, or runs")
    parser.add_argument("url", type=place, metavar="URL", help="place for all that is in it")
