"""Mutation operators: one a module, all behind the interface of :mod:`elm_rl.mutation.operator`."""
