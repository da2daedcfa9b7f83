"""Line edits: a child written as the lines of its parent that change, each range by the numbers of its lines.

A model that writes whole children repeats some fifty lines to change one, and a small one garbles what it repeats; one that
writes SEARCH/REPLACE blocks must quote the parent to the letter. Here every line of the parent stands behind a mark, a token of
its own, and an answer is a row of edits: the mark of the first line that goes, the mark of the first line that stays after it,
and the lines that come in their place, if any. Every change can be written so, in about ten tokens, and whatever is
well-formed applies. No text contains a mark, as marks are special tokens.

Between the marks and the new lines, the line before them and the lines that go are read again. While a model learns, that
teaches it where a mark leads; when it writes, these lines are given, and stand beside what takes their place.

Numbers are taken out of their lines: ``wc.add_joint(2.5, 0)`` is read as the line ``wc.add_joint(#, #)``, a single token where
it is common, and the numbers 2.5 and 0 behind it. So a number never seen in a line is no new line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.tokenizer import BOS, EOS, PAD, SEP, SPECIAL_TOKENS

MARKS = 160
"""Marks of lines in a vocabulary; a program of so many lines is too long to be read."""
NOTES = 48
"""Special tokens for what is said about a program, and about a change; see `elm_rl.mutation.edits.questions`."""
SMALLEST_VOCABULARY = len(SPECIAL_TOKENS) + MARKS + NOTES + 256

_FIRST_MARK = len(SPECIAL_TOKENS)
_FIRST_NOTE = _FIRST_MARK + MARKS
_FIRST_TEXT = _FIRST_NOTE + NOTES
_BECOME = _FIRST_TEXT - 1  # the last note: what was read again becomes what follows

# Characters that no program can contain and run, so that they are free to stand for a number, and for its end.
HOLE, STOP = "\x01", "\x02"
# A whole literal with its sign, where the sign is no subtraction; never a part of a name or of another number.
_NUMBER = re.compile(r"(?<![\w.])(?:(?<![\])] )-)?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
_PIECE = Regex(f"[^\n{STOP}]*[\n{STOP}]")


class LineEdit(NamedTuple):
    """Lines ``start`` to ``stop`` of a program, the latter left out, become ``lines``; counted from 0."""

    start: int
    stop: int
    lines: tuple[str, ...]


class LineEditError(ValueError):
    """An answer that cannot be read, or does not fit its parent."""


def split_lines(program: str) -> list[str]:
    """The lines of a program; blank ones at its end are left out."""
    return program.rstrip("\n").split("\n")


def make_edits(parent: str, child: str) -> list[LineEdit]:
    """The edits that turn ``parent`` into ``child``, from the top down; none where they are equal but for blank last lines."""
    before, after = split_lines(parent), split_lines(child)
    changes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [LineEdit(i, j, tuple(after[k:n])) for tag, i, j, k, n in changes if tag != "equal"]


def apply_edits(parent: str, edits: Sequence[LineEdit]) -> str:
    """The child that edits make of ``parent``; it ends with a newline.

    Raises:
        LineEditError: The edits are out of order, or name lines that the parent does not have, or leave nothing.
    """
    lines = split_lines(parent)
    low = 0
    for edit in edits:
        if not low <= edit.start <= edit.stop <= len(lines):
            raise LineEditError(
                f"An edit names lines {edit.start} to {edit.stop}; expected them between {low} and {len(lines)}."
            )
        low = edit.stop
    for start, stop, new in reversed(edits):
        lines[start:stop] = new
    child = "\n".join(lines) + "\n"
    if not child.strip():
        raise LineEditError("The edits leave no program.")
    return child


def train_edit_tokenizer(programs: Iterable[str], vocab_size: int, *, context: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE over lines without their numbers, and over numbers; either may become a single token.

    Args:
        programs: Texts to learn merges from.
        vocab_size: Tokens in all; marks, notes and bytes included.
        context: Longest sequence the model will take, recorded as ``model_max_length``.

    Raises:
        ConfigError: ``vocab_size`` leaves no room.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise ConfigError(
            f"vocab_size must be at least {SMALLEST_VOCABULARY}, for 256 bytes, {MARKS} marks of lines and "
            f"{NOTES + len(SPECIAL_TOKENS)} other special tokens; got {vocab_size}."
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_PIECE, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    marks = [f"<line {i}>" for i in range(MARKS)]
    notes = [f"<note {i}>" for i in range(NOTES)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *marks, *notes],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ("".join(map(_coded, split_lines(program))) for program in programs if _codable(program))
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        sep_token=SEP,
        extra_special_tokens=[*marks, *notes],
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_max_length=context,
    )


class EditCoder:
    """Programs and edits as token ids, and back.

    Args:
        tokenizer: One of :func:`train_edit_tokenizer`.

    Raises:
        ElmError: It is another one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        first = tokenizer.convert_tokens_to_ids(["<line 0>", "<note 0>", f"<note {NOTES - 1}>"])
        if first != [_FIRST_MARK, _FIRST_NOTE, _FIRST_TEXT - 1]:
            raise ElmError(
                "The tokenizer has no marks of lines; give the folder of a model that was trained to write line edits."
            )
        self._tokenizer = tokenizer
        self._lines: dict[str, list[int]] = {}
        self.vocabulary = len(tokenizer)
        self.begin, self.end, self.separator = 1, 2, 3

    def mark(self, line: int) -> int:
        """The token that stands before a line."""
        return _FIRST_MARK + line

    def note(self, number: int) -> int:
        """The token of a note."""
        return _FIRST_NOTE + number

    @property
    def marks(self) -> range:
        """The ids of all marks."""
        return range(_FIRST_MARK, _FIRST_NOTE)

    @property
    def text(self) -> range:
        """The ids of which text is made."""
        return range(_FIRST_TEXT, self.vocabulary)

    def encode_program(self, program: str) -> list[int] | None:
        """A program with its marks, and one after its last line; None where it is too long or no text of a program."""
        lines = split_lines(program)
        if len(lines) >= MARKS or not _codable(program):
            return None
        ids: list[int] = []
        for number, line in enumerate(lines):
            ids += [self.mark(number), *self._encode_line(line)]
        return [*ids, self.mark(len(lines))]

    def encode_edits(self, program: str, edits: Sequence[LineEdit]) -> list[int]:
        """The ids of edits of a program that ``encode_program`` takes."""
        before = split_lines(program)
        ids: list[int] = []
        for start, stop, lines in edits:
            ids += [self.mark(start), self.mark(stop), *self.read_again(before, start, stop)]
            for line in lines:
                ids += self._encode_line(line)
        return ids

    def read_again(self, lines: Sequence[str], start: int, stop: int) -> list[int]:
        """What stands between the marks of an edit and its new lines: the line before, those that go, and a note."""
        ids: list[int] = []
        for line in lines[max(0, start - 1) : stop]:
            ids += self._encode_line(line)
        return [*ids, _BECOME]

    def decode_edits(self, ids: Sequence[int]) -> list[LineEdit]:
        """The edits that ids say; what they read again is not looked at.

        Raises:
            LineEditError: They are not well-formed.
        """
        edits: list[LineEdit] = []
        place = 0
        while place < len(ids):
            marks = [identifier - _FIRST_MARK for identifier in ids[place : place + 2]]
            read = place + 2
            while read < len(ids) and ids[read] in self.text:
                read += 1
            place = read + 1
            while place < len(ids) and ids[place] in self.text:
                place += 1
            if read >= len(ids) or ids[read] != _BECOME or not all(0 <= mark < MARKS for mark in marks):
                raise LineEditError("Expected two marks of lines, lines that are read again, and then text.")
            text = str(self._tokenizer.decode(list(ids[read + 1 : place]), clean_up_tokenization_spaces=False))
            edits.append(LineEdit(marks[0], marks[1], tuple(_decoded(text))))
        return edits

    def text_of(self, identifier: int) -> str:
        """The text of one token; what is no whole character is shown as a mark."""
        return str(self._tokenizer.decode([identifier], clean_up_tokenization_spaces=False))

    def _encode_line(self, line: str) -> list[int]:
        found = self._lines.get(line)
        if found is None:
            if len(self._lines) >= _REMEMBERED:
                self._lines.clear()
            found = self._lines[line] = list(self._tokenizer.encode(_coded(line), add_special_tokens=False))
        return found


_REMEMBERED = 50_000  # lines whose tokens are kept, some 20 MB


def _codable(program: str) -> bool:
    return HOLE not in program and STOP not in program and "\r" not in program


def _coded(line: str) -> str:
    """A line with holes for its numbers, and the numbers behind it."""
    numbers = _NUMBER.findall(line)
    return "".join([_NUMBER.sub(HOLE, line), "\n", *(number + STOP for number in numbers)])


def _decoded(text: str) -> list[str]:
    """The lines of what :func:`_coded` wrote.

    Raises:
        LineEditError: There are too few numbers, too many, or a line has no end.
    """
    lines: list[str] = []
    place = 0
    while place < len(text):
        end = text.find("\n", place)
        if end < 0 or STOP in text[place:end]:
            raise LineEditError("A line has no end, or a number no place.")
        first, *rest = text[place:end].split(HOLE)
        place = end + 1
        parts = [first]
        for part in rest:
            end = text.find(STOP, place)
            number = text[place:end]
            if end <= place or "\n" in number or HOLE in number:
                raise LineEditError("A line lacks one of its numbers.")
            parts += [number, part]
            place = end + 1
        lines.append("".join(parts))
    return lines
