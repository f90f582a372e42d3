"""The size of a sweep is known before it is signed: never less than it becomes, and hardly more."""

from __future__ import annotations

import pytest

from node_watcher.signing.signer import estimate_vsize
from node_watcher.signing.spending_size import max_vsize
from tests.node_watcher.signing.imagined_coins import imagined_sweep
from tests.node_watcher.signing.offline_wallet import DESTINATIONS, KINDS, OfflineWallet


@pytest.mark.parametrize("script", list(DESTINATIONS.values()), ids=list(DESTINATIONS))
@pytest.mark.parametrize("count", [1, 2, 252, 253, 300])
def test_wpkh_is_as_the_signer_of_the_seed_has_it(count: int, script: bytes) -> None:
    assert max_vsize(KINDS["wpkh"].public, count, script) == estimate_vsize(count, script)


@pytest.mark.parametrize("script", list(DESTINATIONS.values()), ids=list(DESTINATIONS))
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kind", list(KINDS))
def test_signed_it_is_hardly_smaller(kind: str, count: int, script: bytes) -> None:
    sweep = imagined_sweep(KINDS[kind], count, script=script)
    spare = max_vsize(sweep.wallet.public, count, script) - sweep.take(sweep.signed.serialize()).vsize
    # embit's signatures are one or two bytes shorter than the longest; taproot's hash type is left out.
    assert 0 <= spare <= 1 + (2 * count if kind == "pkh" else count)


@pytest.mark.parametrize("kind", ["wpkh", "tr", "pkh"])
@pytest.mark.parametrize("count", [252, 253])
def test_where_the_number_of_inputs_takes_more_bytes(kind: str, count: int) -> None:
    sweep = imagined_sweep(KINDS[kind], count)
    spare = max_vsize(sweep.wallet.public, count, sweep.script) - sweep.take(sweep.signed.serialize()).vsize
    assert 0 <= spare <= 1 + (2 * count if kind == "pkh" else count)


@pytest.mark.parametrize("outer", ["wsh({})", "sh(wsh({}))"])
@pytest.mark.parametrize(("needed", "keys"), [(1, 1), (15, 16), (16, 17), (17, 20), (20, 20)])
def test_the_largest_multisigs(outer: str, needed: int, keys: int) -> None:
    """More than 16 keys are counted by a push instead of an opcode; embit's own finalizer refuses them."""
    inner = f"sortedmulti({needed},{','.join(['{}'] * keys)})"
    wallet = OfflineWallet(outer.format(inner), tuple(range(1, keys + 1)), needed)
    sweep = imagined_sweep(wallet, 2)
    spare = max_vsize(wallet.public, 2, sweep.script) - sweep.take(sweep.signed.serialize()).vsize
    assert 0 <= spare <= 1 + needed


@pytest.mark.parametrize(
    ("kind", "vsize"),
    [("pkh", 633), ("wpkh", 314), ("sh-wpkh", 406), ("tr", 273), ("wsh-multi", 460), ("sh-wsh-multi", 600)],
)
def test_four_inputs_counted_by_hand(kind: str, vsize: int) -> None:
    """205 bytes without signatures; four times 107, 108/4, 23 + 108/4, 67/4, 254/4, 35 + 254/4; two marks."""
    assert max_vsize(KINDS[kind].public, 4, DESTINATIONS["p2wpkh"]) == vsize
