def make_walker():
    wc = walker_creator()
    cells = [(column, row) for column in range(8) for row in range(5)]
    ids = [wc.add_joint(2.0 * column, 2.0 * row) for column, row in cells]
    for i in range(40):
        for j in range(i + 1, 40):
            columns = cells[j][0] - cells[i][0]
            rows = abs(cells[j][1] - cells[i][1])
            if columns >= 4:
                wc.add_muscle(ids[i], ids[j], False, 0.6 * columns, 1.0 * cells[i][0])
            elif columns <= 1 and rows <= 1:
                wc.add_muscle(ids[i], ids[j])
    return wc.get_walker()
