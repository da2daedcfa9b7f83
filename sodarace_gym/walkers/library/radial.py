import math


def make_circle(wc, x, y, radius, count):
    rim = []
    for k in range(count):
        angle = 2 * math.pi * k / count
        rim.append(wc.add_joint(x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return rim


def make_walker():
    wc = walker_creator()
    rim = make_circle(wc, 5, 5, 5, 8)
    hub = wc.add_joint(5, 5)
    for k in range(8):
        wc.add_muscle(rim[k], rim[(k + 1) % 8])
        wc.add_muscle(rim[k], hub, False, k / 8, k / 8)
    return wc.get_walker()
