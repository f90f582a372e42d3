"""`next_step` against chains written as strings: `"ABCD"` becomes `"ABXYZ"`, and the loop says how."""

from __future__ import annotations

import pytest

from payments.chain import AtTip, Connect, Disconnect, HeaderAnswer, NodeBehind, next_step
from payments.model import BlockId


class StringNode:
    """A node whose active chain is a string, one letter a block; it remembers every block it had."""

    def __init__(self, *chains: str) -> None:
        self.chains = list(chains)
        self.known = set("".join(chains))

    @property
    def active(self) -> str:
        return self.chains[-1]

    def header(self, block: str) -> HeaderAnswer | None:
        if block not in self.known:
            return None
        if block not in self.active:
            return HeaderAnswer(-1, None)
        height = self.active.index(block)
        above = self.active[height + 1 : height + 2]
        return HeaderAnswer(len(self.active) - height, above or None)

    def parent(self, block: str) -> str:
        chain = next(c for c in self.chains if block in c)
        return chain[chain.index(block) - 1]


def walk(node: StringNode, cursor: str, height: int) -> str:
    """Follow the steps to the tip; `-D` for a disconnected block, `+X` for a connected one."""
    at, said = BlockId(height, cursor), ""
    for _ in range(50):
        match next_step(at, node.header(at.hash)):
            case Connect(hash=above, height=level):
                assert level == at.height + 1
                at, said = BlockId(level, above), f"{said} +{above}"
            case Disconnect(block=stale):
                assert stale == at
                at, said = BlockId(at.height - 1, node.parent(at.hash)), f"{said} -{stale.hash}"
            case AtTip(tip=tip):
                assert tip == at
                return said.strip()
            case NodeBehind(cursor=unknown):
                assert unknown == at
                return f"{said} ?{unknown.hash}".strip()
    raise AssertionError(f"no end: {said}")


@pytest.mark.parametrize(
    ("chains", "cursor", "said"),
    [
        pytest.param(["ABCD"], "D", "", id="at the tip"),
        pytest.param(["ABCDE"], "D", "+E", id="new block"),
        pytest.param(["ABCDEFG"], "B", "+C +D +E +F +G", id="restart, far behind"),
        pytest.param(["ABCD", "ABXYZ"], "D", "-D -C +X +Y +Z", id="reorganisation"),
        pytest.param(["ABCD", "ABCX"], "D", "-D +X", id="a block replaced at equal height"),
        pytest.param(["ABCD", "ABC"], "D", "-D", id="invalidateblock"),
        pytest.param(["ABCD", "ABXY", "ABCDE"], "D", "+E", id="there and back between two calls"),
        pytest.param(["ABCD", "AXYZW", "ABCDEF"], "Z", "-Z -Y -X +B +C +D +E +F", id="back to the first branch"),
    ],
)
def test_the_steps_from_a_cursor(chains: list[str], cursor: str, said: str) -> None:
    height = next(c for c in chains if cursor in c).index(cursor)
    assert walk(StringNode(*chains), cursor, height) == said


def test_a_node_that_lost_our_block_undoes_nothing() -> None:
    assert walk(StringNode("ABC"), "D", 3) == "?D"


def test_a_header_of_a_lost_block_undoes_nothing() -> None:
    at = BlockId(3, "D")
    assert next_step(at, HeaderAnswer(-1, None, outweighed=False)) == NodeBehind(at)
    assert next_step(at, HeaderAnswer(-1, None, outweighed=True)) == Disconnect(at)


def test_a_reorganisation_between_two_calls_is_followed_too() -> None:
    """The active chain changes after the first step back: the next answer is about the new one."""
    node = StringNode("ABCD", "ABXY")
    first = next_step(BlockId(3, "D"), node.header("D"))
    assert first == Disconnect(BlockId(3, "D"))
    node.chains.append("ABCEF")
    node.known |= set("EF")
    assert walk(node, "C", 2) == "+E +F"
