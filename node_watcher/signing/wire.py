"""What goes over the signer's socket: one question, one answer, each JSON behind its length (4 bytes, big endian).

Both sides take the other for a stranger: everything is bounded, of known names and types, or it is rubbish.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from node_watcher.signing.guarded import Description
from node_watcher.signing.signer import SweepInput
from payments.amount import MAX_MONEY_SAT
from payments.model import OutPoint

MAX_BYTES: Final = 1_048_576
"""A sweep of 1,400 inputs, the most that nodes relay, is asked for with 400 kB and answered with as much."""
_MAX_INPUTS: Final = 2_000


class Rubbish(ValueError):
    """Not what was agreed upon. The connection is closed and nothing is done."""


class HungUp(Rubbish):
    """The other side closed the connection before the end of its message."""


@dataclass(frozen=True, slots=True)
class SweepQuestion:
    """`Signer.sign_sweep` in writing."""

    inputs: tuple[SweepInput, ...]
    destination_script: bytes
    fee_sat: int
    locktime: int


# ------------------------------------------------------------------ frames


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Raises `OSError` (a timeout too) where it cannot."""
    content = json.dumps(message, separators=(",", ":")).encode()
    connection.sendall(len(content).to_bytes(4, "big") + content)


def receive(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """One message, by `time.monotonic() == deadline` at the latest. Raises `Rubbish`, or `OSError`."""
    length = int.from_bytes(_exactly(connection, 4, deadline), "big")
    if not 2 <= length <= MAX_BYTES:
        raise Rubbish(f"a message of {length} bytes")
    content = _exactly(connection, length, deadline)
    try:
        message = json.loads(content, parse_float=_no_float, parse_constant=_no_float, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise Rubbish("no JSON of ours") from error
    if not isinstance(message, dict):
        raise Rubbish("no JSON object")
    return message


def _exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError("too slow")
        connection.settimeout(left)
        if not (part := connection.recv(min(65_536, count - len(parts)))):
            raise HungUp("it ended before its end")
        parts += part
    return bytes(parts)


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no whole number")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return found


# ------------------------------------------------------------------ questions and answers


def describe_question() -> dict[str, Any]:
    return {"ask": "describe"}


def sweep_question(
    inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
) -> dict[str, Any]:
    coins = [
        {
            "txid": one.outpoint.txid,
            "vout": one.outpoint.vout,
            "value_sat": one.value_sat,
            "key_index": one.key_index,
            "script": None if one.script_pubkey is None else one.script_pubkey.hex(),
        }
        for one in inputs
    ]
    destination = destination_script.hex()
    return {"ask": "sign", "inputs": coins, "destination": destination, "fee_sat": fee_sat, "locktime": locktime}


def read_question(message: dict[str, Any]) -> SweepQuestion | None:
    """The sweep that is asked for, or None for `describe`. Raises `Rubbish`."""
    if message == describe_question():
        return None
    _names(message, "ask", "inputs", "destination", "fee_sat", "locktime")
    inputs = message["inputs"]
    if message["ask"] != "sign" or not isinstance(inputs, list) or len(inputs) > _MAX_INPUTS:
        raise Rubbish("no question that is known")
    return SweepQuestion(
        tuple(_input(one) for one in inputs),
        _bytes(message["destination"], 100),
        _number(message["fee_sat"]),
        _number(message["locktime"]),
    )


def _input(said: object) -> SweepInput:
    if not isinstance(said, dict):
        raise Rubbish("an input is no object")
    _names(said, "txid", "vout", "value_sat", "key_index", "script")
    script = None if said["script"] is None else _bytes(said["script"], 100)
    txid = _bytes(said["txid"], 32)
    if len(txid) != 32:
        raise Rubbish("a txid has 32 bytes")
    outpoint = OutPoint(txid.hex(), _number(said["vout"], 0xFFFFFFFF))
    return SweepInput(outpoint, _number(said["value_sat"]), _number(said["key_index"], 0xFFFFFFFF), script)


def described(description: Description) -> dict[str, Any]:
    return {"described": asdict(description)}


def signed(raw: bytes) -> dict[str, Any]:
    return {"signed": raw.hex()}


def refused(sentence: str) -> dict[str, Any]:
    """It is beyond what the signer signs."""
    return {"refused": sentence}


def failed(sentence: str) -> dict[str, Any]:
    """It would have signed, and could not."""
    return {"failed": sentence}


def read_answer(message: dict[str, Any], *known: str) -> tuple[str, Any]:
    """The one name of the answer, of these, and what it says. Raises `Rubbish`."""
    ((name, value),) = message.items() if len(message) == 1 else (("", None),)
    if name not in known:
        raise Rubbish("no answer that is known")
    if name == "described":
        if not isinstance(value, dict):
            raise Rubbish("no description")
        _names(value, "network", "descriptor", "fingerprint", "destination")
        return name, Description(**{key: _text(text) for key, text in value.items()})
    return name, _bytes(value, MAX_BYTES) if name == "signed" else _text(value)


def _names(message: Mapping[str, Any], *known: str) -> None:
    if set(message) != set(known):
        raise Rubbish("other names than were agreed upon")


def _number(value: object, most: int = MAX_MONEY_SAT) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise Rubbish("no number of the kind that belongs there")
    return value


def _bytes(value: object, most: int) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * most or not value.isalnum() or value != value.lower():
        raise Rubbish("no bytes in hexadecimal digits")
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise Rubbish("no bytes in hexadecimal digits") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 2_000 or not value.isprintable():
        raise Rubbish("no sentence")
    return value
