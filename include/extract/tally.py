"""What a scan received, of all objects together."""

from collections import Counter
from dataclasses import dataclass, field

from include.hubspot.json_repair import Repairs


@dataclass
class Tally:
    """Grows page by page and batch by batch. ``misfits``: by column, "contacts.updated_at"."""

    pages: int = 0
    records: int = 0
    misfits: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)
