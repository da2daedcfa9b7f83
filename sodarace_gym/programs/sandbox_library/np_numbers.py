# What np does with numbers and flat lists of numbers.
_sodarace_math = math
_sodarace_len = len
_sodarace_numbers = (int, float, bool)


def _sodarace_refuse(name, value):
    raise TypeError(f"np.{name} takes numbers and flat lists or arrays of numbers here, not {type(value).__name__}")


def _sodarace_list(values, name):
    # A list of its own, all whole or all float.
    if type(values) in _sodarace_numbers:
        values = [values]
    if type(values) not in (list, tuple, range):
        _sodarace_refuse(name, values)
    whole = True
    for value in values:
        if type(value) is float:
            whole = False
        elif type(value) is not int and type(value) is not bool:
            _sodarace_refuse(name, [value] if type(value) in (list, tuple) else value)
    return [int(value) for value in values] if whole else [float(value) for value in values]


def _sodarace_flat(values, name):
    return _sodarace_list(values, name)


def _sodarace_pair(x, y, name):
    if type(x) is float or type(y) is float:
        return float(x), float(y)
    if type(x) not in _sodarace_numbers:
        _sodarace_refuse(name, x)
    if type(y) not in _sodarace_numbers:
        _sodarace_refuse(name, y)
    return x, y


def _sodarace_floor(x):
    return x if type(x) is int else _sodarace_math.copysign(float(_sodarace_math.floor(x)), x)


def _sodarace_ceil(x):
    return x if type(x) is int else _sodarace_math.copysign(float(_sodarace_math.ceil(x)), x)


def _sodarace_round_number(x, decimals=0):
    if type(x) is int:
        if decimals < 0:
            raise ValueError("np.round takes no decimals below 0 for whole numbers here")
        return x
    if decimals == 0:
        return _sodarace_math.copysign(float(round(x)), x)
    power = 10.0 ** abs(decimals)
    scaled = x * power if decimals > 0 else x / power
    scaled = float(round(scaled))
    return scaled / power if decimals > 0 else scaled * power


def _sodarace_round(x, decimals=0):
    return _sodarace_round_number(x, decimals)


def _sodarace_sign(x):
    if type(x) is not float:
        return (x > 0) - (x < 0)
    return float((x > 0) - (x < 0)) if x == x else x


def _sodarace_abs(x):
    if type(x) not in _sodarace_numbers:
        _sodarace_refuse("abs", x)
    return abs(x)


def _sodarace_power(x, y):
    x, y = _sodarace_pair(x, y, "power")
    if type(x) is not float and y < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    if type(x) is not float and y > 63 and not -1 <= x <= 1:
        raise OverflowError("a power of whole numbers has more than 64 bits")
    result = x**y
    return _sodarace_math.nan if type(result) is complex else result


def _sodarace_mod(x, y):
    x, y = _sodarace_pair(x, y, "mod")
    return x % y


def _sodarace_maximum(x, y):
    x, y = _sodarace_pair(x, y, "maximum")
    return x if x >= y or x != x else y


def _sodarace_minimum(x, y):
    x, y = _sodarace_pair(x, y, "minimum")
    return x if x <= y or x != x else y


def _sodarace_clip(x, low, high):
    return _sodarace_minimum(_sodarace_maximum(x, low), high)


def _sodarace_total(values):
    # In numpy's order, eight sums at a time, so that the last bit agrees.
    count = _sodarace_len(values)
    if count < 8:
        total = 0
        for value in values:
            total = total + value
        return total
    if count > 128:
        half = count // 2
        half -= half % 8
        return _sodarace_total(values[:half]) + _sodarace_total(values[half:])
    sums = values[:8]
    end = count - count % 8
    for start in range(8, end, 8):
        sums = [sums[k] + values[start + k] for k in range(8)]
    total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    for value in values[end:]:
        total = total + value
    return total


def _sodarace_sum(values):
    return _sodarace_total(_sodarace_flat(values, "sum"))


def _sodarace_mean(values):
    values = [float(value) for value in _sodarace_flat(values, "mean")]
    return _sodarace_total(values) / _sodarace_len(values)


def _sodarace_extreme(values, better, name):
    values = _sodarace_flat(values, name)
    if not values:
        raise ValueError(f"np.{name} of no numbers")
    best = values[0]
    for value in values:
        best = better(best, value)
    return best


def _sodarace_max(values):
    return _sodarace_extreme(values, _sodarace_maximum, "max")


def _sodarace_min(values):
    return _sodarace_extreme(values, _sodarace_minimum, "min")
