"""What identify messages say of a customer, as far as a setting names it.

A trait is a plain value under a name: a plan, a country, what it cost to win the customer. Nothing is kept
that was not asked for by name, since messages carry names and addresses too. Of each trait the newest word
counts by event time, whatever came in first, so messages out of order lead where they would have led in
order; a trait that was taken back (null) is remembered as that, or an older message would bring it back.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.codec import MAX_AMOUNT
from schemas.events import Profile, Trait
from streams.config import StreamConfig
from streams.customer.state import CustomerState
from streams.customer.state_wire import Traits


def kept_names(config: StreamConfig) -> tuple[str, ...]:
    """List the traits that are kept.

    Examples
    --------
    >>> kept_names(StreamConfig())
    ()
    """
    cost = config.value.acquisition_cost_trait
    names = config.segments.traits
    return (*names, cost) if cost and cost not in names else names


def fold_traits(state: CustomerState, event: Profile, names: Sequence[str]) -> bool:
    """Take in what a message says; tell whether anything is known differently now.

    Examples
    --------
    >>> from streams.customer.state import new_state
    >>> state = new_state(0, inputs=2)
    >>> fold_traits(state, Profile("c1", "m1", 5, {"plan": "gold", "email": "a@b.example"}), ("plan",))
    True
    >>> fold_traits(state, Profile("c1", "m2", 4, {"plan": "silver"}), ("plan",))
    False
    >>> state.traits
    {'plan': (5, 'gold')}
    """
    changed = False
    for name in names:
        if name not in event.traits:
            continue
        if state.traits is None:
            state.traits = {}
        known = state.traits.get(name)
        if known is not None and event.time_ms < known[0]:
            continue
        was, value = None if known is None else known[1], event.traits[name]
        state.traits[name] = event.time_ms, value
        changed = changed or type(was) is not type(value) or was != value  # 1 and true are equal
    return changed


def shown(traits: Traits, names: Sequence[str]) -> dict[str, Trait]:
    """Give what is known under some names, in their order.

    Examples
    --------
    >>> shown({"plan": (5, "gold"), "country": (6, None)}, ("country", "plan"))
    {'plan': 'gold'}
    """
    found: dict[str, Trait] = {}
    for name in names:
        said = traits.get(name)
        if said is not None and said[1] is not None:
            found[name] = said[1]
    return found


def amount_of(traits: Traits, name: str) -> float | None:
    """Give an amount of money that a trait says; None where it says none.

    Examples
    --------
    >>> amount_of({"cac": (5, 12)}, "cac"), amount_of({"cac": (5, "12")}, "cac")
    (12.0, None)
    """
    said = traits.get(name)
    if said is None or isinstance(said[1], bool) or not isinstance(said[1], int | float):
        return None
    amount = float(said[1])
    return amount if 0.0 <= amount <= MAX_AMOUNT else None
