"""What is measured: the training photos of a plan, and the network that looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tlcli.data.audit_cache import AuditCache
from tlcli.data.dataset import Item
from tlcli.data.inspections import inspect_photos
from tlcli.data.photo_groups import distinct_photos, group_photos
from tlcli.training.plan import Plan, choose_precision

if TYPE_CHECKING:
    from tlcli.networks.network import Network


class Subject:
    """A plan whose network is loaded, and whose near copies are found, once and when asked for.

    Attributes:
        plan: in the precision that this machine computes in.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = choose_precision(plan)

    @cached_property
    def network(self) -> Network:
        """The base with its weights and a new head; who changes weights is the last to use it."""
        from tlcli.training.preparation import load_network

        return load_network(self.plan.recipe, self.plan.source, len(self.plan.index.classes))

    @cached_property
    def items(self) -> list[Item]:
        """The training photos, copies of the same bytes counted once."""
        return distinct_photos(self.plan.index.of("train"))

    def groups(self, items: Sequence[Item]) -> list[str]:
        """The group of each of these photos of `items`: those of a group are never apart."""
        return [self._groups[item.digest] for item in items]

    @cached_property
    def _groups(self) -> dict[str, str]:
        groups = find_groups(self.plan, self.items)
        return {item.digest: group for item, group in zip(self.items, groups, strict=True)}

    def release(self) -> None:
        """Let go of the network, which is loaded again if it is asked for."""
        self.__dict__.pop("network", None)


def find_groups(plan: Plan, items: Sequence[Item]) -> list[str]:
    """The group of each photo: near copies are found by looking at the photos once, as `check`."""
    depth = plan.recipe.data.depth
    with AuditCache(plan.cache, depth) as cache:
        inspections = inspect_photos(items, cache, depth)
    return group_photos(items, {name: facts.thumbnail for name, facts in inspections.items()})
