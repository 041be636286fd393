"""Runs as files: records as JSON and arrays, one bundle on disk, and what a stored record answers; without a model."""

from intravisto_core.storage.answers import Sizes as Sizes
from intravisto_core.storage.answers import Stored as Stored
from intravisto_core.storage.answers import find_answer as find_answer
from intravisto_core.storage.bundle import Bundle as Bundle
from intravisto_core.storage.bundle import read_bundle as read_bundle
from intravisto_core.storage.bundle import write_bundle as write_bundle
from intravisto_core.storage.checks import check_stored as check_stored
from intravisto_core.storage.migrations import SCHEMA as SCHEMA
from intravisto_core.storage.plain import read_plain as read_plain
from intravisto_core.storage.plain import to_plain as to_plain
