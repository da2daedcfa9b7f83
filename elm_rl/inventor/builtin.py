"""The built-in policy: it writes walkers for any terrain, was trained with this project and comes with it.

Its card, ``builtin_policy/README.md``, says on what it was trained, with which commands, and how it fares.
"""

from __future__ import annotations

from pathlib import Path

BUILTIN_POLICY = Path(__file__).parent / "builtin_policy"
"""The folder of the policy: safetensors, tokenizer, card."""
