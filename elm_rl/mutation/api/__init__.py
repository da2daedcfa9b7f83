"""Models on OpenAI-compatible servers as mutation operators.

`operator` asks for children, many at a time; `options` are what can be set. `client` is one model on one server, with further
attempts and pauses between them, over `connection`; `exchange` reads what comes back; `ledger` and `ledger_file` keep every
request and reply, and count tokens and money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.mutation.api.operator import ServedMutation as ServedMutation
    from elm_rl.mutation.api.options import ServedOptions as ServedOptions

__getattr__, __dir__ = lazy_names(__name__, {"operator": ["ServedMutation"], "options": ["ServedOptions"]})
