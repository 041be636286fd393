"""What names the exact model that an engine holds."""

from __future__ import annotations

from intravisto_core.models.loaded import LoadedModel


def identify(model: LoadedModel) -> dict[str, str]:
    """Hashes of a model's weights, tokenizer and chat template, the revision asked for, and what it computes in.

    The hash of the weights is that of the files' index and of their first and last bytes.
    """
    vocabulary, template = model.reader.hashes()
    return {
        "weights": model.read_digest(),
        "tokenizer": vocabulary,
        "chat_template": template,
        "revision": model.spec.revision or "",
        "computes_in": model.computes_in,
    }
