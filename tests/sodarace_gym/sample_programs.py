"""Small walker programs that several test modules use."""

from __future__ import annotations

TWO_JOINTS = """
def make_walker():
    wc = walker_creator()
    a = wc.add_joint(0, 0)
    b = wc.add_joint(3, 4)
    wc.add_muscle(a, b, False, 0.5, 1.0)
    return wc.get_walker()
"""


def with_body(*lines: str) -> str:
    """A program whose make_walker() has the lines between wc = walker_creator() and its return."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"def make_walker():\n    wc = walker_creator()\n{body}    return wc.get_walker()\n"
