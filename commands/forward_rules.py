"""`[forwarding]` as the rules of `payments`, and as the words of a record."""

from __future__ import annotations

from typing import Any

from config.forwarding import ForwardingSettings
from payments.forward import ForwardRules


def forward_rules(settings: ForwardingSettings) -> ForwardRules:
    return ForwardRules(
        max_feerate=settings.max_feerate,
        target_blocks=settings.target_blocks,
        min_sat=settings.min_sat,
        max_fee_share=settings.max_fee_share,
        batch_window_ms=settings.batch_window_ms,
        batch_max_inputs=settings.batch_max_inputs,
        deadline_ms=settings.deadline_ms,
        hold_sat=settings.hold,
    )


def forward_rules_record(settings: ForwardingSettings) -> dict[str, Any]:
    """The same as JSON can hold it; decimals are texts."""
    rules = forward_rules(settings)
    return {
        "max_feerate": str(rules.max_feerate),
        "target_blocks": rules.target_blocks,
        "min_sat": rules.min_sat,
        "max_fee_share": str(rules.max_fee_share),
        "batch_window_ms": rules.batch_window_ms,
        "batch_max_inputs": rules.batch_max_inputs,
        "deadline_ms": rules.deadline_ms,
        "hold_sat": rules.hold_sat,
    }
