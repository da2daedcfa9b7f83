def make_walker():
    wc = walker_creator()
    hub = wc.add_joint(-8.0, 9.0)
    rim = [wc.add_joint(-1.5 * math.cos(math.tau * i / 8), 1.5 * math.sin(math.tau * i / 8)) for i in range(8)]
    for i in range(8):
        wc.add_muscle(rim[i], rim[(i + 1) % 8])
        wc.add_muscle(rim[i], rim[(i + 2) % 8])
        wc.add_muscle(rim[i], hub, False, 3.0, math.tau * i / 8)
    return wc.get_walker()
