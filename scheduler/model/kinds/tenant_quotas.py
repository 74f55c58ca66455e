"""Guaranteed quota, borrowing and lending, in a bureau and between bureaus.

A tenant's quota is what it is guaranteed. A bureau's quota is that of itself and its teams
together; what its teams have of it is theirs, and the rest is the bureau's own. Unused quota is
lent: first inside the bureau, then between bureaus of one cohort, as in cohorts of Kueue. A limit
on lending keeps the rest for its owner; one on borrowing holds for what is used beyond the quota.
What others have borrowed of a quota is never subtracted from it: its owner may use it at any time.
"""

from collections.abc import Callable, Iterator, Mapping
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


class LendingBook(NamedTuple):
    """The quotas and the usage of all tenants.

    Attributes:
        tree: the tenants.
        used_by: what each uses.
    """

    tree: TenantTree
    used_by: UsedBy

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
        if limit == 0 or (name not in root.spec.quota and not self._has_team_quota(root, name)):
            return 0
        lent = sum(self._bureau_of(other, name).lendable for other in self._others(root, name))
        return max(0, lent if limit is None else min(lent, limit))

    def _has_team_quota(self, root: Tenant, name: str) -> bool:
        members = self.tree.members_of(root.metadata.name)
        return any(name in self.tree.tenants[one].spec.quota for one in members)

    def _others(self, root: Tenant, name: str) -> Iterator[str]:
        """The other bureaus of its cohort that have a quota of a resource."""
        for other, tenant in sorted(self.tree.tenants.items()):
            is_root = other not in self.tree.problems and not tenant.spec.parent
            is_near = tenant.spec.cohort == root.spec.cohort and other != root.metadata.name
            if is_root and is_near and self._has_team_quota(tenant, name):
                yield other

    def _bureau_of(self, root: str, name: str) -> _Bureau:
        tenant = self.tree.tenants[root]
        teams = [self.tree.tenants[one] for one in self.tree.teams.get(root, ())]
        theirs = {one.metadata.name: _readable_quota(one).get(name, 0) for one in teams}
        whole = _readable_quota(tenant).get(name, 0)
        own = max(0, whole - sum(theirs.values()))
        members = [self._member(one, theirs[one.metadata.name], name) for one in teams]
        own_used = self.used_by(tenant).get(name, 0)
        members.insert(0, _Member(root, own, own_used, 0))
        limit = requests_or_nothing(tenant.spec.lend_limit).get(name, 0)
        if not teams and name in tenant.spec.lend_limit:  # alone: it keeps what it does not lend
            members[0] = members[0]._replace(kept=max(0, own - own_used - limit))
        has_limit = name in tenant.spec.lend_limit
        quota = max(whole, own + sum(theirs.values()))
        return _Bureau(quota, tuple(members), limit if has_limit and teams else None)

    def _member(self, tenant: Tenant, quota: int, name: str) -> _Member:
        used = self.used_by(tenant).get(name, 0)
        kept = 0
        if name in tenant.spec.lend_limit:
            limit = requests_or_nothing(tenant.spec.lend_limit).get(name, 0)
            kept = max(0, quota - used - limit)
        return _Member(tenant.metadata.name, quota, used, kept)

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
            else:
                bureaus = {
                    one: self._bureau_of(one, resource)
                    for one in (name, *self._others(tenant, resource))
                }
                lenders = {one: each.lendable for one, each in bureaus.items()}
                borrowed = sum(max(0, one.used - one.quota) for one in bureaus.values())
            lenders = {one: amount for one, amount in lenders.items() if amount > 0}
            total = sum(lenders.values())
            if borrowed and total and name in lenders:
                found[resource] = min(lenders[name], borrowed * lenders[name] // total)
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
        if name in self.tree.problems or not _readable_quota(tenant):
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
        for other in self._others(self.tree.tenants[root], resource):
            borrower = self._bureau_of(other, resource)
            beyond = borrower.used - borrower.quota
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


def _readable_quota(tenant: Tenant) -> dict[str, int]:
    """A quota that cannot be read guarantees and lends nothing."""
    try:
        return quota_of(tenant)
    except NotAQuantity:
        return {}
