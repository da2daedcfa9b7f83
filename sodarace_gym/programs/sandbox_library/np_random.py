# np.random: numpy's PCG64 and its ways of drawing.
class Generator:
    # numpy's PCG64, seeded through its SeedSequence: the same numbers.
    def __init__(self, seed):
        if type(seed) is not int:
            raise TypeError(f"np.random.default_rng takes a whole number as seed here, not {type(seed).__name__}")
        if seed < 0:
            raise ValueError("expected non-negative integer")
        words = []
        while seed or not words:
            words.append(seed & 0xFFFFFFFF)
            seed >>= 32
        self._half = None
        first, second, third, fourth = _sodarace_seed_words(words)
        self._increment = (((third << 64) | fourth) << 1 | 1) & _sodarace_128
        self._state = (self._increment + ((first << 64) | second)) & _sodarace_128
        self._step()

    def _step(self):
        self._state = (self._state * 0x2360ED051FC65DA44385DF649FCCF645 + self._increment) & _sodarace_128
        return self._state

    def _word(self):
        state = self._step()
        turn = state >> 122
        mixed = (state >> 64) ^ (state & _sodarace_64)
        return ((mixed >> turn) | (mixed << (64 - turn))) & _sodarace_64

    def _half_word(self):
        half = self._half
        if half is not None:
            self._half = None
            return half
        word = self._word()
        self._half = word >> 32
        return word & 0xFFFFFFFF

    def _unit(self):
        return (self._word() >> 11) * (1.0 / 9007199254740992.0)

    def _below(self, count):
        if count == 1:
            return 0
        bits = 32 if count <= 0x100000000 else 64
        draw = self._half_word if bits == 32 else self._word
        if count == 1 << bits:
            return draw()
        mask = (1 << bits) - 1
        product = draw() * count
        if (product & mask) < count:
            least = ((1 << bits) - count) % count
            while (product & mask) < least:
                product = draw() * count
        return product >> bits

    def _bell(self):
        # Marsaglia and Tsang's ziggurat, as numpy cuts it.
        widths, edges, heights = _sodarace_ziggurat()
        while True:
            word = self._word()
            layer = word & 0xFF
            word >>= 8
            size = (word >> 1) & 0xFFFFFFFFFFFFF
            value = size * widths[layer]
            if word & 1:
                value = -value
            if size < edges[layer]:
                return value
            if layer == 0:
                while True:
                    beyond = -0.27366123732975828 * _sodarace_math.log1p(-self._unit())
                    height = -_sodarace_math.log1p(-self._unit())
                    if height + height > beyond * beyond:
                        far = 3.6541528853610088 + beyond
                        return -far if (size >> 8) & 1 else far
            elif (heights[layer - 1] - heights[layer]) * self._unit() + heights[layer] < _sodarace_math.exp(
                -0.5 * value * value
            ):
                return value

    def random(self, size=None):
        return _sodarace_drawn(self._unit, size, False)

    def uniform(self, low=0.0, high=1.0, size=None):
        low, high = _sodarace_pair(low, high, "random.uniform")
        if high < low:
            raise OverflowError("np.random.uniform takes low <= high")
        return _sodarace_drawn(lambda: low + (high - low) * self._unit(), size, False)

    def integers(self, low, high=None, size=None, endpoint=False):
        if high is None:
            low, high = 0, low
        if type(low) is not int or type(high) is not int:
            raise TypeError("integers takes whole numbers as low and high here")
        count = high - low + (1 if endpoint else 0)
        if count <= 0:
            raise ValueError("low >= high")
        return _sodarace_drawn(lambda: low + self._below(count), size, True)

    def standard_normal(self, size=None):
        return _sodarace_drawn(self._bell, size, False)

    def normal(self, loc=0.0, scale=1.0, size=None):
        loc, scale = _sodarace_pair(loc, scale, "random.normal")
        if scale < 0:
            raise ValueError("scale < 0")
        return _sodarace_drawn(lambda: loc + scale * self._bell(), size, False)

    def choice(self, values):
        if type(values) is int:
            return self.integers(values)
        items, _ = _sodarace_operand(values, "random.choice")
        if not items:
            raise ValueError("a cannot be empty unless no samples are taken")
        return items[self.integers(_sodarace_len(items))]


_sodarace_64 = 0xFFFFFFFFFFFFFFFF
_sodarace_128 = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF
_sodarace_generator = Generator
_sodarace_cut = []


def _sodarace_seed_words(words):
    # SeedSequence: mixes the seed into a pool of four words, then draws four words of 64 bits.
    constant = 0x43B0D7E5
    pool = []

    def hashed(value):
        nonlocal constant
        value ^= constant
        constant = constant * 0x931E8875 & 0xFFFFFFFF
        value = value * constant & 0xFFFFFFFF
        return value ^ value >> 16

    def mixed(x, y):
        value = (0xCA01F9DD * x - 0x4973F715 * y) & 0xFFFFFFFF
        return value ^ value >> 16

    for i in range(4):
        pool.append(hashed(words[i] if i < _sodarace_len(words) else 0))
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mixed(pool[target], hashed(pool[source]))
    for word in words[4:]:
        for target in range(4):
            pool[target] = mixed(pool[target], hashed(word))
    constant = 0x8B51F9DD
    halves = []
    for i in range(8):
        value = pool[i % 4] ^ constant
        constant = constant * 0x58F38DED & 0xFFFFFFFF
        value = value * constant & 0xFFFFFFFF
        halves.append(value ^ value >> 16)
    return [halves[2 * i] | halves[2 * i + 1] << 32 for i in range(4)]


def _sodarace_ziggurat():
    # Widths, edges and heights of the layers, computed when first asked for.
    if not _sodarace_cut:
        end, area, scale = 3.6541528853610088, 0.004928673233974655, 4503599627370496.0
        widths, edges, heights = [0.0] * 256, [0] * 256, [1.0] * 256
        x = end
        heights[255] = _sodarace_math.exp(-0.5 * x * x)
        widths[255] = x / scale
        edges[0] = int(x * heights[255] / area * scale)
        widths[0] = area / heights[255] / scale
        for i in range(254, 0, -1):
            before = x
            x = _sodarace_math.sqrt(-2.0 * _sodarace_math.log(area / before + heights[i + 1]))
            edges[i + 1] = int(x / before * scale)
            widths[i] = x / scale
            heights[i] = _sodarace_math.exp(-0.5 * x * x)
        _sodarace_cut.append((widths, edges, heights))
    return _sodarace_cut[0]


def _sodarace_drawn(draw, size, whole):
    if size is None:
        return draw()
    if type(size) is tuple and _sodarace_len(size) == 1:
        size = size[0]
    if type(size) is not int:
        raise TypeError("random arrays have one dimension here: their size is a whole number")
    return _sodarace_array_of([draw() for _ in range(size)], whole)


def _sodarace_default_rng(seed=0):
    return _sodarace_generator(0 if seed is None else seed)


def _sodarace_seed(seed=None):
    raise TypeError("np.random.seed is not supported here; write rng = np.random.default_rng(seed)")


_sodarace_unseeded = _sodarace_generator(0)


def _sodarace_rand(size=None):
    return _sodarace_unseeded.random(size)


def _sodarace_randn(size=None):
    return _sodarace_unseeded.standard_normal(size)


def _sodarace_uniform(low=0.0, high=1.0, size=None):
    return _sodarace_unseeded.uniform(low, high, size)


def _sodarace_normal(loc=0.0, scale=1.0, size=None):
    return _sodarace_unseeded.normal(loc, scale, size)


def _sodarace_randint(low, high=None, size=None):
    return _sodarace_unseeded.integers(low, high, size)


def _sodarace_choice(values):
    return _sodarace_unseeded.choice(values)


class _sodarace_random:
    default_rng = _sodarace_default_rng
    seed = _sodarace_seed
    random = _sodarace_rand
    rand = _sodarace_rand
    randn = _sodarace_randn
    uniform = _sodarace_uniform
    normal = _sodarace_normal
    randint = _sodarace_randint
    choice = _sodarace_choice
