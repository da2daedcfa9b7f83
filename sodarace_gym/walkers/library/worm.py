def make_walker():
    wc = walker_creator()
    lower = [wc.add_joint(2.5 * i, 0.0) for i in range(7)]
    upper = [wc.add_joint(2.5 * i, 2.0) for i in range(7)]
    for i in range(7):
        wc.add_muscle(lower[i], upper[i])
    for i in range(6):
        wc.add_muscle(lower[i], lower[i + 1], False, 0.6, 3.1 - 1.9 * i)
        wc.add_muscle(upper[i], upper[i + 1], False, 0.5, -1.9 * i)
        wc.add_muscle(lower[i], upper[i + 1])
        wc.add_muscle(upper[i], lower[i + 1])
    return wc.get_walker()
