"""Which kinds of record can be read: what is written names its kind, and can name no other."""

from __future__ import annotations

from intravisto_core import records
from intravisto_core.records import Record

RECORDS: dict[str, type[Record]] = {
    kind.__name__: kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Record)
}
