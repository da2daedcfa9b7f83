"""Stage 3: the stage 2 model learns which program suits which terrain.

`warm_start` shows it the best known programs of every terrain; `ppo` then lets it try its own, with the environment as
the reward (`reward`) and the terrain x terrain matrix as the judge (`monitor`).
"""
