"""`nodetill payments`: what came, what waits for the operator, and his word about it."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from commands.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    print_json,
    refuse,
    settings_from,
    with_database,
)
from commands.event_context import public_url
from commands.payment_pages import concern_view, decision_view, page_view, show_concerns, show_page, show_payments
from commands.till import reading, writing
from config.settings import Settings
from node_watcher.clock import now_ms
from payments.attention import Concern
from payments.facts import Resolution
from payments.model import OutPoint, Status
from payments.record import PaymentRecord
from payments.resolution import NotPossible
from payments.view import payment_view
from storage.attention import concerns
from storage.payment_page import PaymentPage, page_of
from storage.payments import list_payments
from storage.resolutions import Resolved, UnknownPayment, resolve

app = typer.Typer(no_args_is_help=True, help="Payments: the list, everything about one, and what you decide.")
_LONGEST_REASON = 1_000
_MOST = 1_000
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The payment's id, 32 hex digits.")]


@app.command("list")
def show_list(
    status: Annotated[Status | None, typer.Option(help="Only those at this status.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="What waits for your decision, oldest first, and why.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="At most so many.")] = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List payments, newest first."""
    settings = settings_from(config)
    if attention:
        if status is not None or user is not None:
            refuse("--attention lists whatever waits for you: leave --status and --user out.")
        waiting = _waiting(settings)
        if as_json:
            print_json({"attention": [concern_view(one) for one in waiting[:limit]], "total": len(waiting)})
        else:
            show_concerns(waiting[:limit], len(waiting))
        return
    found = _found(settings, status, user, limit)
    if as_json:
        url = public_url(settings)
        print_json({"payments": [payment_view(record, url) for record in found]})
    else:
        show_payments(found)


@with_database
async def _waiting(settings: Settings) -> list[Concern]:
    async with reading(settings) as database:
        return await database.read(concerns)


@with_database
async def _found(settings: Settings, status: Status | None, user: str | None, limit: int) -> list[PaymentRecord]:
    async with reading(settings) as database:
        return await database.read(lambda tx: list_payments(tx, user_id=user, status=status, before=None, limit=limit))


@app.command("show")
def show(payment_id: IdArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Everything about one payment: coins, ledger, events, decisions, sweeps."""
    settings = settings_from(config)
    page = _page(settings, payment_id)
    if page is None:
        refuse(_unknown(payment_id))
    if as_json:
        print_json(page_view(page, public_url(settings)))
    else:
        show_page(page, public_url(settings))


@with_database
async def _page(settings: Settings, payment_id: str) -> PaymentPage | None:
    async with reading(settings) as database:
        return await database.read(page_of, payment_id)


@app.command("resolve")
def decide(
    payment_id: IdArgument,
    action: Annotated[
        Resolution,
        typer.Option(
            help="credit: held coins count after all. ignore: set aside for good. "
            "refunded: the same, and you sent them back."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why, for whoever reads it later.")],
    txid: Annotated[str | None, typer.Option(help="With refunded: the transaction of your wallet that did it.")] = None,
    coin: Annotated[
        list[str] | None, typer.Option(metavar="TXID:VOUT", help="Only this coin; repeat for more. Else all that wait.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Decide about coins that give no credits by themselves. nodetill moves no coins."""
    settings = settings_from(config)
    said, refund, coins = _reason(reason), _refund(action, txid), _coins(coin)
    try:
        done = _resolve(settings, payment_id, action, said, refund, coins)
    except UnknownPayment:
        refuse(_unknown(payment_id))
    except NotPossible as error:
        refuse(str(error))
    if as_json:
        print_json(
            {
                "payment_id": payment_id,
                "repeated": done.repeated,
                "decision": decision_view(done.decision),
                "payment": payment_view(done.payment, public_url(settings)),
            }
        )
    else:
        print(_sentence(done))


def _reason(reason: str) -> str:
    said = reason.strip()
    if not 1 <= len(said) <= _LONGEST_REASON or not said.isprintable():
        refuse(f"--reason: write 1 to {_LONGEST_REASON} printable characters, such as 'customer agreed by mail'.")
    return said


def _refund(action: Resolution, txid: str | None) -> str | None:
    if action is not Resolution.REFUNDED:
        if txid is not None:
            refuse("--txid belongs to --action refunded: leave it out.")
        return None
    if txid is None:
        refuse("--action refunded needs --txid: the transaction of your wallet that sent the coins back.")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", txid):
        refuse("--txid: a transaction id has 64 hex digits; copy it from your wallet.")
    return txid.lower()


def _coins(named: list[str] | None) -> list[OutPoint] | None:
    found = []
    for text in named or ():
        if (parts := re.fullmatch(r"([0-9a-fA-F]{64}):([0-9]{1,9})", text)) is None:
            refuse("--coin: write TXID:VOUT as `nodetill payments show` prints it.")
        found.append(OutPoint(parts[1].lower(), int(parts[2])))
    return found or None


@with_database
async def _resolve(
    settings: Settings,
    payment_id: str,
    action: Resolution,
    reason: str,
    refund: str | None,
    coins: list[OutPoint] | None,
) -> Resolved:
    async with writing(settings) as database:
        return await database.write(resolve, payment_id, action, reason, now_ms(), refund_txid=refund, coins=coins)


def _sentence(done: Resolved) -> str:
    payment, made = done.payment, done.decision
    if done.repeated:
        return f"Payment {payment.id}: this was decided before ({made.action.value}); nothing was changed."
    sat = sum(o.value_sat for o in payment.facts.outputs if o.outpoint in made.coins)
    what = {
        Resolution.CREDIT: f"{sat} sat count now; the service books the credits once they are deep enough",
        Resolution.IGNORE: f"{sat} sat are set aside for good" if made.coins else "the reversal is acknowledged",
        Resolution.REFUNDED: f"{sat} sat are set aside for good, sent back by {made.refund_txid}",
    }[made.action]
    return f"Payment {payment.id}: {what}. It is {payment.state.status.value}."


def _unknown(payment_id: str) -> str:
    return f"no payment has the id {payment_id[:64]!r}; see `nodetill payments list`."
