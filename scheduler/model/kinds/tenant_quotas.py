"""Guaranteed quota, borrowing and lending, in a bureau and between bureaus.

A tenant's quota is what it is guaranteed. A bureau's quota is that of itself and its teams
together; what its teams have of it is theirs, and the rest is the bureau's own. Unused quota is
lent: first inside the bureau, then between bureaus of one cohort, as in cohorts of Kueue. A limit
on lending keeps the rest for its owner; one on borrowing holds for what is used beyond the quota.
What others have borrowed of a quota is never subtracted from it: its owner may use it at any time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.model.kinds.tenant import Tenant, quota_of
from scheduler.model.kinds.tenant_tree import TenantTree
from scheduler.model.quantities import NotAQuantity, requests_of

Amounts = Mapping[str, int]
"""Amount by resource: millicores for cpu, whole units for everything else."""

UsedBy = Callable[[Tenant], Amounts]
"""The requests of a tenant's own placed workloads, without those of its teams."""


class _Member(NamedTuple):
    """A tenant inside its bureau, about one resource.

    Attributes:
        name: of the tenant.
        quota: what it is guaranteed; of a bureau, what its teams leave of its quota.
        used: by its own workloads.
        kept: what of its unused quota no other tenant may use.
    """

    name: str
    quota: int
    used: int
    kept: int

    @property
    def borrowed(self) -> int:
        """What it uses beyond its quota."""
        return max(0, self.used - self.quota)


class _Bureau(NamedTuple):
    """A bureau with its teams, about one resource."""

    quota: int
    members: tuple[_Member, ...]
    lend_limit: int | None

    @property
    def used(self) -> int:
        """By all its members."""
        return sum(one.used for one in self.members)

    @property
    def lendable(self) -> int:
        """What other bureaus may use of its quota; negative if it has borrowed itself."""
        left = self.quota - self.used - sum(one.kept for one in self.members)
        return left if self.lend_limit is None else min(left, self.lend_limit)


class _Cohort(NamedTuple):
    """The bureaus of a cohort that have a quota of a resource, and their sums.

    Attributes:
        bureaus: by name.
        lendable: what all of them lend, less what they have borrowed.
        unused: what those lend that lend anything.
        borrowed: what they use beyond their quotas.
    """

    bureaus: Mapping[str, _Bureau]
    lendable: int
    unused: int
    borrowed: int


@dataclass(slots=True)
class LendingBook:
    """The quotas of all tenants and what they use at one moment; each sum is made once.

    Attributes:
        tree: the tenants.
        used_by: what each uses.
    """

    tree: TenantTree
    used_by: UsedBy
    _used: dict[str, Amounts] = field(default_factory=dict)
    _bureaus: dict[tuple[str, str], _Bureau] = field(default_factory=dict)
    _cohorts: dict[tuple[str, str], _Cohort] = field(default_factory=dict)

    def names_for(self, tenant: Tenant) -> tuple[str, ...]:
        """The resources that a tenant's quota or its bureau's limits, sorted."""
        parent = self.tree.parent_of(tenant.metadata.name)
        names = set(tenant.spec.quota) | (set(parent.spec.quota) if parent else set())
        return tuple(sorted(names))

    def quota_left(self, tenant: Tenant) -> dict[str, int]:
        """What a tenant may still use: the rest of its own quota, and what it may borrow.

        Raises:
            NotAQuantity: a quota or a limit of the tenant or of its bureau cannot be read.
        """
        parent = self.tree.parent_of(tenant.metadata.name)
        _check_readable(tenant, "")
        if parent is not None:
            _check_readable(parent, f"of the parent {parent.metadata.name}: ")
        left: dict[str, int] = {}
        for name in self.names_for(tenant):
            bureau = self._bureau_of(self.tree.root_of(tenant.metadata.name), name)
            own = next(one for one in bureau.members if one.name == tenant.metadata.name)
            left[name] = own.quota - own.used + self._borrowable(tenant, own, bureau, name)
        return left

    def _borrowable(self, tenant: Tenant, own: _Member, bureau: _Bureau, name: str) -> int:
        """What a tenant may use of a resource beyond its own quota, in all."""
        parent = self.tree.parent_of(tenant.metadata.name)
        shares_parents = parent is not None and name not in tenant.spec.quota
        limit = None if shares_parents else borrow_limit_of(tenant, name)
        if limit == 0:
            return 0
        others = sum(one.used + one.kept for one in bureau.members if one.name != own.name)
        top = tenant if parent is None else parent
        extra = bureau.quota + self._from_outside(top, name) - others - own.quota
        return max(0, extra if limit is None else min(extra, limit))

    def _from_outside(self, root: Tenant, name: str) -> int:
        """What a bureau may use beyond its quota, of what other bureaus of its cohort lend."""
        limit = borrow_limit_of(root, name)
        is_misplaced = root.metadata.name in self.tree.problems
        if limit == 0 or is_misplaced or not self._has_quota(root.metadata.name, name):
            return 0
        cohort = self._cohort_of(root, name)
        lent = cohort.lendable - cohort.bureaus[root.metadata.name].lendable
        return max(0, lent if limit is None else min(lent, limit))

    def _has_quota(self, root: str, name: str) -> bool:
        return any(name in self.tree.quotas[one] for one in self.tree.members_of(root))

    def _cohort_of(self, root: Tenant, name: str) -> _Cohort:
        key = (root.spec.cohort, name)
        known = self._cohorts.get(key)
        if known is None:
            bureaus = {
                one: self._bureau_of(one, name)
                for one in self.tree.bureaus.get(root.spec.cohort, ())
                if self._has_quota(one, name)
            }
            lendable = [one.lendable for one in bureaus.values()]
            known = self._cohorts[key] = _Cohort(
                bureaus=bureaus,
                lendable=sum(lendable),
                unused=sum(max(0, one) for one in lendable),
                borrowed=sum(max(0, one.used - one.quota) for one in bureaus.values()),
            )
        return known

    def _bureau_of(self, root: str, name: str) -> _Bureau:
        known = self._bureaus.get((root, name))
        if known is None:
            known = self._bureaus[root, name] = self._read_bureau(root, name)
        return known

    def _read_bureau(self, root: str, name: str) -> _Bureau:
        teams = self.tree.teams.get(root, ())
        members = [self._member(one, self.tree.quotas[one].get(name, 0), name) for one in teams]
        whole = self.tree.quotas[root].get(name, 0)
        theirs = sum(one.quota for one in members)
        own, own_used = max(0, whole - theirs), self._use_of(root, name)
        limit = self.tree.lend_limits[root].get(name)
        kept = 0
        if limit is not None and not teams:  # alone: it keeps what it does not lend
            kept, limit = max(0, own - own_used - limit), None
        members.insert(0, _Member(root, own, own_used, kept))
        return _Bureau(max(whole, own + theirs), tuple(members), limit)

    def _member(self, name: str, quota: int, resource: str) -> _Member:
        used, limit = self._use_of(name, resource), self.tree.lend_limits[name].get(resource)
        kept = 0 if limit is None else max(0, quota - used - limit)
        return _Member(name, quota, used, kept)

    def _use_of(self, name: str, resource: str) -> int:
        known = self._used.get(name)
        if known is None:
            known = self._used[name] = self.used_by(self.tree.tenants[name])
        return known.get(resource, 0)

    # ------------------------------------------------------------ what is borrowed and lent

    def borrowed_by(self, tenant: Tenant) -> dict[str, int]:
        """What a tenant with its teams uses beyond its quota, by resource; only what is above 0."""
        name = tenant.metadata.name
        found: dict[str, int] = {}
        for resource in self.names_for(tenant):
            bureau = self._bureau_of(self.tree.root_of(name), resource)
            own = next(one for one in bureau.members if one.name == name)
            is_root = not tenant.spec.parent
            amount = max(0, bureau.used - bureau.quota) if is_root else own.borrowed
            if amount:
                found[resource] = amount
        return found

    def lent_by(self, tenant: Tenant) -> dict[str, int]:
        """What others use of a tenant's quota, by resource: in proportion to what each can lend."""
        name, found = tenant.metadata.name, dict[str, int]()
        for resource in self.names_for(tenant):
            if tenant.spec.parent:
                bureau = self._bureau_of(self.tree.root_of(name), resource)
                lenders = {one.name: one.quota - one.used - one.kept for one in bureau.members}
                borrowed = sum(one.borrowed for one in bureau.members)
                lenders = {one: amount for one, amount in lenders.items() if amount > 0}
                own, total = lenders.get(name, 0), sum(lenders.values())
            elif self._has_quota(name, resource):
                cohort = self._cohort_of(tenant, resource)
                own, total = max(0, cohort.bureaus[name].lendable), cohort.unused
                borrowed = cohort.borrowed
            else:
                continue
            if borrowed and total and own:
                found[resource] = min(own, borrowed * own // total)
        return {resource: amount for resource, amount in found.items() if amount}

    def to_take_back(self, tenant: Tenant, asked: Amounts) -> dict[str, dict[str, int]]:
        """What others borrow of the quota that a tenant needs for a workload; {}: it needs none.

        Only a tenant that stays within its own guaranteed quota with the workload takes back, and
        only from those that use more than theirs.

        Args:
            tenant: the owner; `used_by` leaves out the workload.
            asked: what the workload requests in all.
        """
        name = tenant.metadata.name
        if name in self.tree.problems or not self.tree.quotas[name]:
            return {}
        root = self.tree.root_of(name)
        found: dict[str, dict[str, int]] = {}
        for resource, amount in asked.items():
            if resource not in tenant.spec.quota or not amount:
                continue
            bureau = self._bureau_of(root, resource)
            own = next(one for one in bureau.members if one.name == name)
            if own.used + amount > own.quota:
                return {}
            for other, borrowed in self._borrowers(root, bureau, name, resource):
                found.setdefault(other, {})[resource] = borrowed
        return found

    def may_end_work_of(self, tenant: Tenant, asked: Amounts) -> frozenset[str] | None:
        """The tenants whose work may end for a workload by its priority; None: that of all.

        Work for which a tenant has to borrow ends none that uses its own tenant's guaranteed
        quota, which would be taken back at once.

        Args:
            tenant: of the workload; `used_by` leaves the workload out.
            asked: what the workload requests in all.
        """
        name = tenant.metadata.name
        root, borrows = self.tree.root_of(name), False
        for resource in self.names_for(tenant):
            own = next(one for one in self._bureau_of(root, resource).members if one.name == name)
            borrows |= own.used + asked.get(resource, 0) > max(own.quota, own.used)
        if not borrows:
            return None
        others = (one for each, one in self.tree.tenants.items() if each not in self.tree.problems)
        return frozenset({name, *(one.metadata.name for one in others if self.borrowed_by(one))})

    def _borrowers(
        self, root: str, bureau: _Bureau, name: str, resource: str
    ) -> Iterator[tuple[str, int]]:
        """Who uses more of a resource than its quota: inside the bureau, and in other bureaus."""
        yield from (
            (one.name, one.borrowed) for one in bureau.members if one.name != name and one.borrowed
        )
        if not self._has_quota(root, resource):
            return
        for other, borrower in self._cohort_of(self.tree.tenants[root], resource).bureaus.items():
            beyond = 0 if other == root else borrower.used - borrower.quota
            for one in borrower.members if beyond > 0 else ():
                if one.borrowed:
                    yield one.name, min(one.borrowed, beyond)


def borrow_limit_of(tenant: Tenant, name: str) -> int | None:
    """The most of a resource that a tenant uses beyond its quota; None: as much as is lent."""
    limits = [
        requests_or_nothing(one).get(name, 0)
        for one in (tenant.spec.borrow_limit, tenant.spec.borrowing_limit)
        if name in one
    ]
    if not tenant.spec.borrowing and name not in tenant.spec.borrow_limit:
        return 0
    return min(limits, default=None)


def requests_or_nothing(amounts: Mapping[str, float | str]) -> dict[str, int]:
    """Amounts by resource; none if one of them cannot be read, which then limits most."""
    try:
        return requests_of(amounts)
    except NotAQuantity:
        return {}


def _check_readable(tenant: Tenant, where: str) -> None:
    """Raises what is wrong with an amount: one that cannot be read must not count as no limit.

    Raises:
        NotAQuantity: the message begins with `where`.
    """
    try:
        quota_of(tenant)
        for one in (tenant.spec.borrowing_limit, tenant.spec.borrow_limit, tenant.spec.lend_limit):
            requests_of(one)
    except NotAQuantity as error:
        raise NotAQuantity(f"{where}{error}") from None
