"""The seed file: sealed, private to its owner, never overwritten; and the keys that come out of it."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from embit.bip32 import HDKey
from embit.ec import PrivateKey
from embit.networks import NETWORKS

from node_watcher.signing import seed as seeds
from node_watcher.signing.seed import Seed
from payments.address import address_of
from payments.descriptor import RangedDescriptor
from payments.keys import check_mnemonic, hash160, mnemonic_of, seed_of

ABANDON = "abandon " * 11 + "about"
PASSPHRASE = "correct horse battery staple"
CHEAP = 2**12  # scrypt as slow as in earnest would only test our patience

BIP39_VECTORS = [  # the BIP's own, whose passphrase is "TREZOR"
    (
        "00" * 16,
        ABANDON,
        "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf14"
        "1630c7a3c4ab7c81b2f001698e7463b04",
    ),
    (
        "7f" * 16,
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6fa457fe1296106559a3c80937a1c1069"
        "be3a3a5bd381ee6260e8d9739fce1f607",
    ),
    (
        "ff" * 32,
        "zoo " * 23 + "vote",
        "dd48c104698c30cfe2b6142103248622fb7bb0ff692eebb00089b32d22484e1613912f0a5b694407be899ffd31ed399"
        "2c456cdf60f5d4564b8ba3f05a69890ad",
    ),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "till.seed"
    seeds.import_mnemonic(path, ABANDON, PASSPHRASE, scrypt_n=CHEAP)
    return path


@pytest.mark.parametrize(("entropy", "mnemonic", "seed"), BIP39_VECTORS)
def test_bip39_vectors(entropy: str, mnemonic: str, seed: str) -> None:
    assert mnemonic_of(bytes.fromhex(entropy)) == mnemonic
    check_mnemonic(mnemonic)
    assert seed_of(mnemonic, "TREZOR").hex() == seed


def test_bip84_vector(file: Path) -> None:
    seed = seeds.open_seed(file, PASSPHRASE)
    key = PrivateKey(seed.private_key("main", 0)).wif()
    assert key == "KyZpNDKnfs94vbrwhJneDi77V6jF64PWPF8x5cdJb8ifgg2DUc9d"
    text = seed.account_descriptor("main")
    assert text.startswith("wpkh([73c5da0a/84h/0h/0h]xpub")
    wallet = RangedDescriptor.parse(text, "main")
    assert wallet.derive(0)[1] == "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
    assert wallet.derive(1)[1] == "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"


@pytest.mark.parametrize("network", ["testnet4", "signet", "regtest"])
def test_test_networks_have_coin_type_1(file: Path, network: str) -> None:
    seed = seeds.open_seed(file, PASSPHRASE)
    account = HDKey.from_seed(seed_of(ABANDON)).derive("m/84h/1h/0h")
    tpub = account.to_public(version=NETWORKS["test"]["xpub"]).to_string()
    assert seed.account_descriptor(network) == f"wpkh([73c5da0a/84h/1h/0h]{tpub}/0/*)"
    wallet = RangedDescriptor.parse(seed.account_descriptor(network), network)
    in_signet = address_of(wallet.script_pubkey(0), "signet")
    assert in_signet == "tb1q6rz28mcfaxtmd6v789l9rrlrusdprr9pqcpvkl"  # as other wallets show it


@pytest.mark.parametrize("network", ["main", "testnet4", "signet", "regtest"])
def test_each_key_fits_its_address(file: Path, network: str) -> None:
    seed = seeds.open_seed(file, PASSPHRASE)
    wallet = RangedDescriptor.parse(seed.account_descriptor(network), network)
    pkh = RangedDescriptor.parse(wallet.text.split("#")[0].replace("wpkh", "pkh"), network)
    assert ("/84h/0h/0h]xpub" if network == "main" else "/84h/1h/0h]tpub") in wallet.text
    for index in (0, 1, 1000):
        sec = PrivateKey(seed.private_key(network, index)).sec()
        assert wallet.script_pubkey(index) == b"\x00\x14" + hash160(sec)
        assert pkh.script_pubkey(index)[3:23] == hash160(sec)
    for index in (-1, 2**31):
        with pytest.raises(ValueError, match="does not exist"):
            seed.private_key(network, index)


@pytest.mark.parametrize("words", [12, 24])
def test_a_new_seed_opens_with_its_passphrase(tmp_path: Path, words: Any) -> None:
    path = tmp_path / "new.seed"
    mnemonic = seeds.create(path, PASSPHRASE, words, scrypt_n=CHEAP)
    assert len(mnemonic.split()) == words
    check_mnemonic(mnemonic)
    again = tmp_path / "again.seed"
    seeds.import_mnemonic(again, f"  {mnemonic.upper()}\n", PASSPHRASE, scrypt_n=CHEAP)
    opened = seeds.open_seed(path, PASSPHRASE)
    assert opened.fingerprint == seeds.open_seed(again, PASSPHRASE).fingerprint
    assert opened.fingerprint == Seed(seed_of(mnemonic)).fingerprint
    assert seeds.create(tmp_path / "other.seed", PASSPHRASE, words, scrypt_n=CHEAP) != mnemonic


def test_the_standard_strength_opens_too(tmp_path: Path) -> None:
    path = tmp_path / "strong.seed"
    seeds.create(path, PASSPHRASE)
    assert json.loads(path.read_text())["kdf"] == {"name": "scrypt", "n": 2**17, "r": 8, "p": 1}
    seeds.open_seed(path, PASSPHRASE)


def test_the_file_tells_nothing_and_is_private(file: Path, tmp_path: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [file.name]
    text = file.read_text()
    assert "abandon" not in text
    assert ABANDON.encode().hex() not in text


def test_mode_0600_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        seeds.create(tmp_path / "open", PASSPHRASE, scrypt_n=CHEAP)
        os.umask(0o777)
        seeds.create(tmp_path / "shut", PASSPHRASE, scrypt_n=CHEAP)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_wrong_passphrase_is_named(file: Path) -> None:
    for wrong in ("", PASSPHRASE + " ", PASSPHRASE.upper()):
        with pytest.raises(seeds.WrongPassphrase, match="seed_passphrase"):
            seeds.open_seed(file, wrong)


def test_the_same_passphrase_in_another_unicode_form_opens(tmp_path: Path) -> None:
    path = tmp_path / "till.seed"
    seeds.import_mnemonic(path, ABANDON, "Zürich über alles", scrypt_n=CHEAP)
    seeds.open_seed(path, "Zu\u0308rich u\u0308ber alles")


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(seeds.WeakPassphrase, match="at least 8"):
        seeds.create(tmp_path / "till.seed", "1234567", scrypt_n=CHEAP)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_is_never_overwritten(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(seeds.SeedFileExists, match="never overwritten"):
        seeds.create(file, PASSPHRASE, scrypt_n=CHEAP)
    dangling = tmp_path / "link.seed"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(seeds.SeedFileExists):
        seeds.create(dangling, PASSPHRASE, scrypt_n=CHEAP)
    assert file.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(seeds.SeedFileExposed, match="chmod 600"):
        seeds.open_seed(file, PASSPHRASE)


def altered(body: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    *path, last = where.split(".")
    place = body
    for name in path:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("format", "other"), ("format", None), ("version", 2), ("version", None), ("kdf", None),
        ("kdf", 5), ("kdf.n", 2**30), ("kdf.n", 3), ("kdf.n", 0), ("kdf.n", "x"), ("kdf.r", 10**9),
        ("kdf.r", 0), ("kdf.p", -1), ("salt", "zz"), ("salt", None), ("cipher.nonce", ""),
        ("cipher.nonce", "00"), ("cipher.ciphertext", None),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(file: Path, where: str, value: Any) -> None:
    file.write_text(json.dumps(altered(json.loads(file.read_text()), where, value)))
    with pytest.raises(seeds.SeedFileBroken):
        seeds.open_seed(file, PASSPHRASE)


@pytest.mark.parametrize(("where", "value"), [("kdf.name", "none"), ("cipher.ciphertext", "00" * 60), ("salt", "00")])
def test_an_altered_file_does_not_open(file: Path, where: str, value: Any) -> None:
    file.write_text(json.dumps(altered(json.loads(file.read_text()), where, value)))
    with pytest.raises(seeds.WrongPassphrase, match="altered"):
        seeds.open_seed(file, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b" " * 70_000])
def test_what_is_no_seed_file_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(seeds.SeedFileBroken):
        seeds.open_seed(file, PASSPHRASE)


def test_a_missing_file_or_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(seeds.SeedFileBroken, match="seed create"):
        seeds.open_seed(tmp_path / "none.seed", PASSPHRASE)
    with pytest.raises(seeds.SeedFileBroken):
        seeds.open_seed(tmp_path, PASSPHRASE)
    with pytest.raises(seeds.SeedError, match="cannot make the folder"):
        seeds.create(tmp_path / "no" / "folder" / "till.seed", PASSPHRASE, scrypt_n=CHEAP)


def test_a_missing_folder_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "till.seed"
    seeds.create(path, PASSPHRASE, scrypt_n=CHEAP)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    seeds.open_seed(path, PASSPHRASE)


def test_a_folder_that_everybody_may_write_to_is_refused(file: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(seeds.SeedFileExposed, match="another seed in the place"):
        seeds.create(tmp_path / "new.seed", PASSPHRASE, scrypt_n=CHEAP)
    with pytest.raises(seeds.SeedFileExposed, match="chmod go-w"):
        seeds.open_seed(file, PASSPHRASE)
    tmp_path.chmod(0o1777)
    seeds.open_seed(file, PASSPHRASE)


@pytest.mark.parametrize(
    ("mnemonic", "words"),
    [
        ("", "12, 15, 18, 21 or 24"),
        ("abandon " * 13, "12, 15, 18, 21 or 24"),
        ("abandon " * 12, "checksum"),
        ("abandon " * 11 + "abuot", "word 12 "),
    ],
)
def test_bad_words_are_counted_and_not_repeated(tmp_path: Path, mnemonic: str, words: str) -> None:
    with pytest.raises(seeds.BadMnemonic, match=words) as caught:
        seeds.import_mnemonic(tmp_path / "till.seed", mnemonic, PASSPHRASE, scrypt_n=CHEAP)
    assert "ab" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_verify_compares_the_paper_with_the_file(file: Path) -> None:
    assert seeds.verify(file, PASSPHRASE).fingerprint == "73c5da0a"
    assert seeds.verify(file, PASSPHRASE, ABANDON.replace(" ", "  ")).fingerprint == "73c5da0a"
    with pytest.raises(seeds.MnemonicMismatch):
        seeds.verify(file, PASSPHRASE, "zoo " * 11 + "wrong")
    with pytest.raises(seeds.BadMnemonic):
        seeds.verify(file, PASSPHRASE, "zoo " * 12)


def test_a_seed_shows_nothing_secret(file: Path) -> None:
    seed = seeds.open_seed(file, PASSPHRASE)
    seed.private_key("main", 0)
    assert repr(seed) == str(seed) == f"{seed}" == "Seed(73c5da0a)"
    assert "prv" not in repr(seed._master)
    with pytest.raises(TypeError):
        pickle.dumps(seed)
