"""Walkers on terrains as pymunk would step them, to the last bit, many at a time.

pymunk wraps Chipmunk (in its fork Munk2D; MIT licence, (c) 2007-2015 Scott Lembcke and Howling Moon Software, (c) Victor
Blomqvist), and Chipmunk's arithmetic is what the modules here do, in its order, for worlds such as ours alone: circles of mass
1 that never turn and pass through each other, static segments, and damped springs between the circles' middles. Names in
brackets are Chipmunk's functions and constants.

`vectors` emits code over four floats at once. `ground` is a terrain as joints meet it. `joints` moves them and finds what is
near, `narrow_phase` finds where they touch, `contacts` and `springs` solve what acts on them. `lanes` are places for several
walkers side by side, and `stepping` puts all of this together into one step of them. `rolling` lets a batch of walkers settle
and walk, `driving` steps one walker whose muscles somebody else sets.

All of it is compiled by numba when it is first used, which takes some fifteen seconds once after installing.
"""
