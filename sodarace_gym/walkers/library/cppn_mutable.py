def query_grid(wc, xgrid, ygrid, scale, connect_func, amp_func, phase_func):
    joints = []
    for x in range(xgrid):
        for y in range(ygrid):
            joints.append(wc.add_joint(x * scale, y * scale))
    for i in range(len(joints)):
        for j in range(i + 1, len(joints)):
            x1 = i // ygrid
            y1 = i % ygrid
            x2 = j // ygrid
            y2 = j % ygrid
            if y2 >= y1 and (x1 != y1 or x2 != y2) and connect_func(x1, y1, x2, y2):
                wc.add_muscle(joints[i], joints[j], False, amp_func(x1, y1, x2, y2), phase_func(x1, y1, x2, y2))
    return joints


def connect(x1, y1, x2, y2):
    return (x1 - x2) ** 2 + (y1 - y2) ** 2 < 4.5


def amplitude(x1, y1, x2, y2):
    return max(abs(x1 - x2), abs(y1 - y2))


def phase(x1, y1, x2, y2):
    return x1 if x1 % 2 == 1 else -x1


def make_walker():
    wc = walker_creator()
    grid = query_grid(wc, 8, 3, 1.5, connect, amplitude, phase)
    return wc.get_walker()
