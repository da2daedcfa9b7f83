# The grid of the paper's CPPN walkers, and what programs import.
class _GridJoints:
    def __init__(self, ids):
        self.ids = ids

    def __getitem__(self, key):
        return self.ids[key] if type(key) is tuple else list(self.ids.values())[key]

    def __iter__(self):
        return iter(self.ids)

    def __contains__(self, key):
        return key in self.ids

    def keys(self):
        return self.ids.keys()

    def values(self):
        return self.ids.values()

    def items(self):
        return self.ids.items()


def query_cppn(wc, xgrid, ygrid, scale, connect_func, amp_func, phase_func):
    nodes = [(x, y) for x in range(xgrid) for y in range(ygrid)]
    ids = {node: wc.add_joint(node[0] * scale, node[1] * scale) for node in nodes}
    for x1, y1 in nodes:
        for x2 in range(x1, xgrid):
            for y2 in range(y1, ygrid):
                if (x1 != y1 or x2 != y2) and connect_func(x1, y1, x2, y2) and (x1 != x2 or y1 != y2):
                    amplitude = amp_func(x1, y1, x2, y2)
                    wc.add_muscle(ids[(x1, y1)], ids[(x2, y2)], False, amplitude, phase_func(x1, y1, x2, y2))
    return _GridJoints(ids)


class _sodarace_walk:
    walker_creator = walker_creator
    query_cppn = query_cppn
    Walker = _Walker
