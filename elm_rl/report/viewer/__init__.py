"""The page on which the walkers of a run walk: one HTML file that needs no server and no network.

`site` writes the file of what `contents` collects: elites with their ancestors (`history`), walks as the engine records
them (`walks`, `walker`), the terrain x program matrix (`matrix`), failed children (`failures`), learning curves (`curves`)
and tables (`tables`), compressed (`packing`). ``static`` holds the page's markup, style and script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.report.viewer.site import SITE_FILE as SITE_FILE
    from elm_rl.report.viewer.site import write_site as write_site
    from elm_rl.report.viewer.walker import Walker as Walker
    from elm_rl.report.viewer.walks import decode_walk as decode_walk
    from elm_rl.report.viewer.walks import encode_walk as encode_walk

__getattr__, __dir__ = lazy_names(
    __name__,
    {"site": ["SITE_FILE", "write_site"], "walker": ["Walker"], "walks": ["decode_walk", "encode_walk"]},
)
