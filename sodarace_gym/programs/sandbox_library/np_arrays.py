# One-dimensional arrays; what has the name of something in np_numbers.py takes its place.
class ndarray:
    # The items of a list at the places of a range: a slice is another range over the same list, as in numpy.
    def __init__(self, items, places, whole):
        self._items = items
        self._places = places
        self._whole = whole
        self.size = _sodarace_len(places)
        self.shape = (self.size,)
        self.ndim = 1
        self.dtype = int if whole else float

    def tolist(self):
        items = self._items
        return [items[place] for place in self._places]

    def copy(self):
        return _sodarace_array_of(self.tolist(), self._whole)

    def astype(self, dtype):
        return _sodarace_typed(self.tolist(), dtype, self._whole)

    def sum(self):
        return _sodarace_sum(self)

    def mean(self):
        return _sodarace_mean(self)

    def max(self):
        return _sodarace_max(self)

    def min(self):
        return _sodarace_min(self)

    def __iter__(self):
        return iter(self.tolist())

    def __contains__(self, value):
        return value in self.tolist()

    def __repr__(self):
        return f"array({self.tolist()})"

    def __len__(self):
        return self.size

    def _at(self, index):
        if type(index) is not int:
            raise IndexError(f"an array's index is a whole number or a slice here, not {type(index).__name__}")
        if not -self.size <= index < self.size:
            raise IndexError(f"index {index} is out of bounds for axis 0 with size {self.size}")
        return self._places[index]

    def __getitem__(self, index):
        if isinstance(index, slice):
            return _sodarace_ndarray(self._items, self._places[index], self._whole)
        return self._items[self._at(index)]

    def __setitem__(self, index, value):
        places = self._places[index] if isinstance(index, slice) else [self._at(index)]
        if not isinstance(index, slice) and type(value) not in _sodarace_numbers:
            raise ValueError("setting an array element with a sequence")
        values, _ = _sodarace_operand(value)
        count = _sodarace_len(places)
        if _sodarace_len(values) == 1:
            values = values * count
        if _sodarace_len(values) != count:
            raise ValueError(
                f"could not broadcast input array from shape ({_sodarace_len(values)},) into shape ({count},)"
            )
        values = _sodarace_kept([int(v) for v in values]) if self._whole else [float(v) for v in values]
        for place, item in zip(places, values):
            self._items[place] = item

    def __eq__(self, other):
        raise TypeError("arrays cannot be compared here; compare their elements")

    def __neg__(self):
        return _sodarace_array_of([-v for v in self.tolist()], self._whole)

    def __pos__(self):
        return self.copy()

    def __abs__(self):
        return _sodarace_array_of([abs(v) for v in self.tolist()], self._whole)

    def __add__(self, other):
        return _sodarace_binary(self, other, _sodarace_add)

    def __radd__(self, other):
        return _sodarace_binary(other, self, _sodarace_add)

    def __sub__(self, other):
        return _sodarace_binary(self, other, _sodarace_subtract)

    def __rsub__(self, other):
        return _sodarace_binary(other, self, _sodarace_subtract)

    def __mul__(self, other):
        return _sodarace_binary(self, other, _sodarace_multiply)

    def __rmul__(self, other):
        return _sodarace_binary(other, self, _sodarace_multiply)

    def __truediv__(self, other):
        return _sodarace_binary(self, other, _sodarace_divide, False)

    def __rtruediv__(self, other):
        return _sodarace_binary(other, self, _sodarace_divide, False)

    def __floordiv__(self, other):
        return _sodarace_binary(self, other, _sodarace_floor_divide)

    def __rfloordiv__(self, other):
        return _sodarace_binary(other, self, _sodarace_floor_divide)

    def __mod__(self, other):
        return _sodarace_binary(self, other, _sodarace_mod)

    def __rmod__(self, other):
        return _sodarace_binary(other, self, _sodarace_mod)

    def __pow__(self, other):
        if type(other) in _sodarace_numbers and other == 2 and not (self._whole and type(other) is float):
            # As numpy does it.
            return _sodarace_binary(self, self, _sodarace_multiply)
        return _sodarace_binary(self, other, _sodarace_power)

    def __rpow__(self, other):
        return _sodarace_binary(other, self, _sodarace_power)


_sodarace_ndarray = ndarray


def len(values):
    return values.size if type(values) is _sodarace_ndarray else _sodarace_len(values)


def _sodarace_add(x, y):
    return x + y


def _sodarace_subtract(x, y):
    return x - y


def _sodarace_multiply(x, y):
    return x * y


def _sodarace_divide(x, y):
    return x / y


def _sodarace_floor_divide(x, y):
    return x // y


def _sodarace_array_of(items, whole):
    return _sodarace_ndarray(items, range(_sodarace_len(items)), whole)


def _sodarace_kept(items):
    for item in items:
        if not -9223372036854775808 <= item <= 9223372036854775807:
            raise OverflowError("a whole number in an array has more than 64 bits")
    return items


def _sodarace_typed(items, dtype, whole):
    if dtype is None:
        dtype = int if whole else float
    if dtype is int:
        return _sodarace_array_of(_sodarace_kept([int(item) for item in items]), True)
    if dtype is float:
        return _sodarace_array_of([float(item) for item in items], False)
    raise TypeError("an array's dtype is int or float here")


def _sodarace_flat(values, name):
    return values.tolist() if type(values) is _sodarace_ndarray else _sodarace_list(values, name)


def _sodarace_operand(value, name="array"):
    # Its numbers, and whether they are whole.
    if type(value) is _sodarace_ndarray:
        return value.tolist(), value._whole
    values = _sodarace_flat(value, name)
    return values, bool(values) and type(values[0]) is not float


def _sodarace_binary(a, b, apply, may_be_whole=True):
    left, left_whole = _sodarace_operand(a)
    right, right_whole = _sodarace_operand(b)
    sizes = _sodarace_len(left), _sodarace_len(right)
    if sizes[0] != sizes[1]:
        if sizes[0] == 1:
            left = left * sizes[1]
        elif sizes[1] == 1:
            right = right * sizes[0]
        else:
            raise ValueError(f"operands could not be broadcast together with shapes ({sizes[0]},) ({sizes[1]},)")
    if not (left_whole and right_whole):
        return _sodarace_array_of([apply(float(x), float(y)) for x, y in zip(left, right)], False)
    items = [apply(x, y) for x, y in zip(left, right)]
    return _sodarace_array_of(_sodarace_kept(items) if may_be_whole else items, may_be_whole)


def _sodarace_inplace(target, operator, value):
    # target operator= value
    if type(target) is not _sodarace_ndarray:
        if operator == "+":
            target += value
        elif operator == "-":
            target -= value
        elif operator == "*":
            target *= value
        elif operator == "/":
            target /= value
        elif operator == "//":
            target //= value
        elif operator == "%":
            target %= value
        else:
            target **= value
        return target
    if operator == "+":
        result = target + value
    elif operator == "-":
        result = target - value
    elif operator == "*":
        result = target * value
    elif operator == "/":
        result = target / value
    elif operator == "//":
        result = target // value
    elif operator == "%":
        result = target % value
    else:
        result = target**value
    if type(result) is not _sodarace_ndarray:
        return result
    if target._whole and not result._whole:
        raise TypeError(f"{operator}= would put floats into an array of whole numbers")
    if result.size != target.size:
        raise ValueError(f"non-broadcastable output operand with shape ({target.size},)")
    target[:] = result
    return target


def _sodarace_no_array(value):
    if type(value) is _sodarace_ndarray:
        raise TypeError("an array is changed in place only in a line of its own here; write a = a + b")


def _sodarace_over(function, keeps_whole=False):
    def apply(x):
        if type(x) is _sodarace_ndarray:
            return _sodarace_array_of([function(item) for item in x.tolist()], keeps_whole and x._whole)
        return function(x)

    return apply


def _sodarace_over_two(function, keeps_whole=False):
    def apply(x, y):
        if type(x) is _sodarace_ndarray or type(y) is _sodarace_ndarray:
            return _sodarace_binary(x, y, function, keeps_whole)
        return function(x, y)

    return apply


def _sodarace_round(x, decimals=0):
    if type(x) is _sodarace_ndarray:
        return _sodarace_array_of([_sodarace_round_number(item, decimals) for item in x.tolist()], x._whole)
    return _sodarace_round_number(x, decimals)


_sodarace_maxima = _sodarace_over_two(_sodarace_maximum, True)
_sodarace_minima = _sodarace_over_two(_sodarace_minimum, True)


def _sodarace_clip(x, low, high):
    return _sodarace_minima(_sodarace_maxima(x, low), high)


def _sodarace_array(values, dtype=None):
    if type(values) in _sodarace_numbers:
        raise TypeError("np.array takes a list of numbers here, not a single one")
    if type(values) in (list, tuple):
        for value in values:
            if type(value) in (list, tuple, _sodarace_ndarray):
                raise TypeError("np.array makes one-dimensional arrays only here; keep points in a list of pairs")
            if type(value) is bool:
                raise TypeError("np.array takes no True and False here; give it numbers")
    items, whole = _sodarace_operand(values)
    return _sodarace_typed(items, dtype, whole)


def _sodarace_asarray(values, dtype=None):
    if type(values) is _sodarace_ndarray and (dtype is None or dtype is values.dtype):
        return values
    return _sodarace_array(values, dtype)


def _sodarace_full(shape, value, dtype=None):
    if type(shape) is tuple and _sodarace_len(shape) == 1:
        shape = shape[0]
    if type(shape) is not int:
        raise TypeError("arrays have one dimension here: their shape is a whole number")
    if shape < 0:
        raise ValueError("negative dimensions are not allowed")
    if type(value) not in _sodarace_numbers:
        _sodarace_refuse("full", value)
    return _sodarace_typed([value] * shape, dtype, type(value) is not float)


def _sodarace_zeros(shape, dtype=float):
    return _sodarace_full(shape, 0, dtype)


def _sodarace_ones(shape, dtype=float):
    return _sodarace_full(shape, 1, dtype)


def _sodarace_zeros_like(values):
    return _sodarace_full(len(values), 0, _sodarace_asarray(values).dtype)


def _sodarace_ones_like(values):
    return _sodarace_full(len(values), 1, _sodarace_asarray(values).dtype)


def _sodarace_linspace(start, stop, num=50, endpoint=True):
    start, stop = _sodarace_pair(start, stop, "linspace")
    start, stop = float(start), float(stop)
    if type(num) is not int:
        raise TypeError(f"np.linspace takes a whole number of samples, not {type(num).__name__}")
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    steps = num - 1 if endpoint else num
    delta = stop - start
    if steps <= 0:
        items = [i * delta + start for i in range(num)]
    elif delta / steps == 0.0:
        items = [i / steps * delta + start for i in range(num)]
    else:
        step = delta / steps
        items = [i * step + start for i in range(num)]
    if endpoint and num > 1:
        items[-1] = stop
    return _sodarace_array_of(items, False)


def _sodarace_arange(start, stop=None, step=1, dtype=None):
    if stop is None:
        start, stop = 0, start
    whole = True
    for value in (start, stop, step):
        if type(value) not in _sodarace_numbers:
            _sodarace_refuse("arange", value)
        whole = whole and type(value) is not float
    count = max(0, _sodarace_math.ceil((stop - start) / step))
    if whole:
        return _sodarace_typed(range(start, start + count * step, step), dtype, True)
    if dtype is int:
        raise TypeError("np.arange takes whole numbers for an array of dtype int here")
    start = float(start)
    delta = (start + step) - start
    return _sodarace_array_of([start + i * delta for i in range(count)], False)


def _sodarace_cumsum(values):
    items, whole = _sodarace_operand(values, "cumsum")
    total = 0
    sums = []
    for item in items:
        total = total + item
        sums.append(total)
    return _sodarace_array_of(_sodarace_kept(sums) if whole else sums, whole)


def _sodarace_diff(values):
    values = _sodarace_asarray(values)
    return values[1:] - values[:-1]


def _sodarace_concatenate(parts):
    items, all_whole = [], True
    for part in parts:
        if type(part) in _sodarace_numbers:
            raise ValueError("np.concatenate takes lists and arrays, not numbers")
        more, whole = _sodarace_operand(part, "concatenate")
        items = items + more
        all_whole = all_whole and whole
    return _sodarace_typed(items, None, all_whole)
