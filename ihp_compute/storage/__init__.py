"""Populations and runs on a disk or in a bucket: named locations, objects by content, a cache.

Decides: which words name a place, when something in a bucket counts, which copies are believed and
how much room they take on this machine. Leaves to others: what a folder holds.
"""

from __future__ import annotations

from ihp_compute.storage import buckets
from ihp_compute.storage.cache import Holder
from ihp_compute.storage.files import Files, Folder, Objects, manifest_text, objects_of
from ihp_compute.storage.locations import (
    Location,
    Place,
    lasting,
    location_of,
    locations_of,
    place_of,
)
from ihp_compute.storage.publishing import (
    UNNAMED_S,
    as_said,
    at_hand,
    bring,
    is_view,
    keep_beside,
    publish_to,
    publishing,
    put_beside,
    standing,
    sweep_unnamed,
)

__all__ = [
    "UNNAMED_S",
    "Files",
    "Folder",
    "Holder",
    "Location",
    "Objects",
    "Place",
    "as_said",
    "at_hand",
    "bring",
    "buckets",
    "is_view",
    "keep_beside",
    "lasting",
    "location_of",
    "locations_of",
    "manifest_text",
    "objects_of",
    "place_of",
    "publish_to",
    "publishing",
    "put_beside",
    "standing",
    "sweep_unnamed",
]
