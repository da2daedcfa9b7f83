def make_square(wc, x, y, side):
    a = wc.add_joint(x, y)
    b = wc.add_joint(x, y + side)
    c = wc.add_joint(x + side, y + side)
    d = wc.add_joint(x + side, y)
    return [a, b, c, d]


def make_walker():
    wc = walker_creator()
    corners = make_square(wc, 0, 0, 10)
    hub = wc.add_joint(5, 5)
    for k in range(4):
        wc.add_muscle(corners[k], corners[(k + 1) % 4])
    wc.add_muscle(corners[0], hub)
    wc.add_muscle(corners[1], hub, False, 5.0, 0.0)
    wc.add_muscle(corners[2], hub, False, 10.0, 2.0)
    wc.add_muscle(corners[3], hub, False, 3.0, 4.0)
    return wc.get_walker()
