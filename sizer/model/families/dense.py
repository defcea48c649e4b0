"""Dense decoders of the Llama kind: each is a record of where it differs."""

from __future__ import annotations

from sizer.model.families.decoder import Decoder

FAMILIES = {
    "llama": Decoder(),
}
