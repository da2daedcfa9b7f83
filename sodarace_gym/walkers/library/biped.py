def make_walker():
    wc = walker_creator()
    hips = [wc.add_joint(0.0, 7.0), wc.add_joint(6.0, 7.0)]
    shoulders = [wc.add_joint(0.0, 10.0), wc.add_joint(6.0, 10.0)]
    feet = [wc.add_joint(-1.6, 0.0), wc.add_joint(4.4, 0.0)]
    wc.add_muscle(hips[0], hips[1])
    wc.add_muscle(shoulders[0], shoulders[1])
    for side in range(2):
        wc.add_muscle(hips[side], shoulders[side])
        wc.add_muscle(hips[side], shoulders[1 - side])
        beat = 4.7 * side
        wc.add_muscle(feet[side], hips[side], False, 1.4, beat)
        wc.add_muscle(feet[side], hips[1 - side], False, 1.4, beat + 1.2)
        wc.add_muscle(feet[side], shoulders[side], False, 1.4, beat + 4.3)
    return wc.get_walker()
