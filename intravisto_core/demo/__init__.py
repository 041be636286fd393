"""The embedded demo model: a small Llama, the text that it learned from, and the script that trains it."""

from pathlib import Path

MODEL_FOLDER: Path = Path(__file__).parent / "model"
