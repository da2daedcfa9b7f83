def connect(x1, y1, x2, y2):
    return (x1 - x2) ** 2 + (y1 - y2) ** 2 < 4.5


def amplitude(x1, y1, x2, y2):
    return max(abs(x1 - x2), abs(y1 - y2))


def phase(x1, y1, x2, y2):
    return x1 if x1 % 2 == 1 else -x1


def make_walker():
    wc = walker_creator()
    grid = query_cppn(wc, 8, 3, 1.5, connect, amplitude, phase)
    return wc.get_walker()
