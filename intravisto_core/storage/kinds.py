"""Which kinds of record can be read: what is written names its kind, and can name no other."""

from __future__ import annotations

from intravisto_core import records
from intravisto_core.records import Record

RECORDS: dict[str, type[Record]] = {
    name: kind for name in dir(records) if isinstance(kind := getattr(records, name), type) and issubclass(kind, Record)
}
