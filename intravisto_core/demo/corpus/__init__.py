"""The text of the demo model's small world: drawn repeatably, answers marked, some cases held out."""

from intravisto_core.demo.corpus.mixture import TASKS, document, line
from intravisto_core.demo.corpus.text import Answer, Line, Sampler, is_held_out, text_of
from intravisto_core.demo.corpus.words import word_list

__all__ = ["TASKS", "Answer", "Line", "Sampler", "document", "is_held_out", "line", "text_of", "word_list"]
