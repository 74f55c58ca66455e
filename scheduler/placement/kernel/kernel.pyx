# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The arithmetic of single decisions, compiled: capacity of sites, order of costs, sums of costs.

It computes what `filter.py`, `capacity.py`, `node_fit.py`, `full_sites.py`, `site_costs.py`,
`divide.py`, `summed_capacity.py` and `result.py` compute with NumPy, operation by operation in the same order
(build_kernel.py has the compiler flags), so that both give the same bytes. It avoids the dozens of
NumPy calls on short arrays that take most of a decision's time there. It uses typed memoryviews
only, no NumPy at C level. `loader.py` decides whether it is used, `kernel.pyi` has the types.

A slot is the index of a site in all arrays, `slot_capacity` their length, as in `fleet.py`.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport ceil, floor
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport qsort

import numpy as np

INTERFACE: int = 8
"""Incremented with every change of a signature or of a function's meaning; `loader.py` checks it."""

cdef enum:
    _COUNT = 0  # the columns that every fleet has, as in node_table.py
    _PROFILE = 1
    _CARDS = 2
    _IN_FLIGHT = 0  # the profile of rows that are no nodes but in flight, as in node_table.py
    _MAX_COLUMNS = 16
    _MAX_STATES = 32  # as in in_flight_loss.py
    _BLOCK = 64  # rows whose shares are computed together, in an array on the stack

cdef double _ROUNDING = 1e-6  # as in in_flight_loss.py
cdef double _UNLIMITED = 1_000_000.0  # as in summed_capacity.py
cdef uint64_t _ODD = 0x9E3779B97F4A7C15  # as in site_costs.py
cdef uint8_t _NONE = 255  # the rank of a site that no rule refuses, as in filter.py

MAX_COLUMNS = _MAX_COLUMNS
"""The most different resources of a pod; pods with more are fitted by `capacity.py`."""


cdef inline double _floor(double value) noexcept nogil:
    """`floor`, without a library call where the value fits an int64."""
    cdef double whole
    if not -9e15 < value < 9e15:
        return floor(value)
    whole = <double><int64_t>value
    return whole - 1.0 if whole > value else whole


cdef inline int _check_slots(const int64_t[::1] slots, Py_ssize_t capacity) except -1:
    """Refuses slots outside an array: bounds are not checked later, so reads would give garbage."""
    cdef Py_ssize_t index
    for index in range(slots.shape[0]):
        if not 0 <= slots[index] < capacity:
            raise IndexError(f"slot {slots[index]} of {capacity}")
    return 0


cdef inline int _check_length(Py_ssize_t length, Py_ssize_t capacity) except -1:
    """Refuses an array that does not have the expected length."""
    if length != capacity:
        raise ValueError(f"an array of {length} for {capacity} slots")
    return 0


cdef class Rows:
    """The node rows of a fleet; created again when the fleet replaces one of the arrays.

    Args:
        matrix: the values, see `ragged.py`; [columns, rows].
        start: the first row of each site; [slot_capacity].
        length: how many rows each site has; [slot_capacity].
        cards: the columns of single GPU cards; [cards of a node, 1].
    """

    cdef const double[:, ::1] matrix
    cdef const int64_t[::1] start
    cdef const int64_t[::1] length
    cdef const int64_t[:, ::1] cards
    cdef const double* data
    cdef Py_ssize_t width
    cdef readonly tuple arrays

    def __init__(self, matrix, start, length, cards):
        self.matrix = matrix
        self.start = start
        self.length = length
        self.cards = cards
        self.data = &self.matrix[0, 0]
        self.width = self.matrix.shape[1]
        self.arrays = (matrix, start, length, cards)


cdef struct Taker:
    Py_ssize_t row  # nodes that take a replica
    double cap  # how many replicas one takes
    double count  # how many such nodes there are
    double first  # what the first replica that one loses takes of the budget of `_bound_by_amounts`


cdef int _larger_cap_first(const void* one, const void* other) noexcept nogil:
    cdef double left = (<const Taker*>one).cap
    cdef double right = (<const Taker*>other).cap
    return (left < right) - (left > right)


cdef int _smaller_first_first(const void* one, const void* other) noexcept nogil:
    cdef const Taker* left = <const Taker*>one
    cdef const Taker* right = <const Taker*>other
    if left.first != right.first:
        return -1 if left.first < right.first else 1
    return (left.count > right.count) - (left.count < right.count)


cdef class Fit:
    """How many more replicas of one pod shape a site takes.

    Args:
        rows: the node rows.
        columns: the columns of the resources that a pod asks for.
        asked: how much of each a pod asks for.
        gpu_cards: on how many different cards a pod takes a share; 0: on none.
        gpu_milli: the share of one card, in thousandths.
        one_per_node: whether a node takes one pod at most.
        chosen: 1 for each node profile that is suitable, [profiles]; None: all are.
        sets: the number of the set of permitted CPU vendors of each site, [slot_capacity]; None:
            any vendor.
        permitted: 1 for each node profile that a set permits; [vendor sets, profiles]; None
            if `sets` is.
        worst_case: what a slot takes in the worst case of what is in flight, see
            `in_flight_fit.py`; asked where the quick answer is less than `wanted`. None: never.
        wanted: how many replicas are asked.

    Raises:
        ValueError: more than `MAX_COLUMNS` resources.
        IndexError: there is no such column.
    """

    cdef Rows rows
    cdef int count
    cdef int64_t columns[_MAX_COLUMNS]
    cdef double asked[_MAX_COLUMNS]
    cdef int64_t gpu_cards
    cdef double gpu_milli
    cdef bint one_per_node
    cdef bint is_any_profile
    cdef bint is_any_vendor
    cdef const uint8_t[::1] chosen
    cdef const int64_t[::1] sets
    cdef const uint8_t[:, ::1] permitted
    cdef object worst_case
    cdef int64_t wanted

    def __init__(
        self,
        Rows rows,
        columns,
        asked,
        int64_t gpu_cards,
        double gpu_milli,
        bint one_per_node,
        chosen,
        sets,
        permitted,
        worst_case,
        int64_t wanted,
    ):
        cdef int index = 0
        self.worst_case = worst_case
        self.wanted = wanted
        self.rows = rows
        self.count = len(columns)
        if self.count > _MAX_COLUMNS:
            raise ValueError(f"at most {_MAX_COLUMNS} resources; got {self.count}")
        for column, amount in zip(columns, asked):
            if not 0 <= column < rows.matrix.shape[0]:
                raise IndexError(f"there is no column {column}")
            self.columns[index] = column
            self.asked[index] = amount
            index += 1
        self.gpu_cards = gpu_cards
        self.gpu_milli = gpu_milli
        self.one_per_node = one_per_node
        self.is_any_profile = chosen is None
        self.is_any_vendor = sets is None
        if chosen is not None:
            self.chosen = chosen
        if sets is not None:
            self.sets = sets
            self.permitted = permitted

    cdef bint _is_usable(self, Py_ssize_t slot, int64_t profile) noexcept nogil:
        """Whether this node profile suits the shape, and the site's grant permits its vendor."""
        if not self.is_any_profile and not self.chosen[profile]:
            return False
        return self.is_any_vendor or self.permitted[self.sets[slot], profile]

    cdef void _shares_of_rows(self, Py_ssize_t begin, Py_ssize_t rows, double* fits) noexcept nogil:
        """How often each of up to `_BLOCK` rows has what a pod asks for, without cards.

        Column by column, because row by row needs a branch for each value, which the processor
        mispredicts half of the time.
        """
        cdef const double* free
        cdef double asked
        cdef double share
        cdef Py_ssize_t row
        cdef int index
        for row in range(rows):
            fits[row] = _UNLIMITED
        for index in range(self.count):
            free = self.rows.data + self.columns[index] * self.rows.width + begin
            asked = self.asked[index]
            if index == 0:
                for row in range(rows):
                    fits[row] = free[row] / asked
            elif asked == 1.0:
                for row in range(rows):
                    fits[row] = free[row] if free[row] < fits[row] else fits[row]
            else:
                for row in range(rows):
                    share = free[row] / asked
                    fits[row] = share if share < fits[row] else fits[row]

    cdef double _with_cards(self, Py_ssize_t row, double fits) noexcept nogil:
        """What one node of a row takes, given what it takes without cards (`fits`).

        Cards are read only where everything else fits, and in rows in flight, whose free
        thousandths are negative.
        """
        cdef double free = self.rows.data[_CARDS * self.rows.width + row]
        cdef double left = free
        cdef double pods = 0.0
        cdef double share
        cdef Py_ssize_t card
        cdef Py_ssize_t cards = self.rows.cards.shape[0]
        if not cards:
            return 0.0
        if not (free < 0.0 or (fits > 0.0 and free >= self.gpu_cards * self.gpu_milli)):
            return min(fits, 0.0)
        for card in range(cards):
            share = self.rows.data[self.rows.cards[card, 0] * self.rows.width + row]
            if share < 0.0 or share >= self.gpu_milli:  # in between the quotient's floor is 0
                pods += _floor(share / self.gpu_milli)
            left -= share
            if left == 0.0:  # nothing is on further cards: another site's nodes may have more
                break
        if self.gpu_cards > 1 and pods >= 0.0:
            pods = self._on_different_cards(row)
        return min(fits, pods)

    cdef double _on_different_cards(self, Py_ssize_t row) noexcept nogil:
        """The fixed point that `pods_on_distinct_cards` in `node_fit.py` describes."""
        cdef double most = self._shares(row, -1.0)
        cdef double less
        while True:
            less = min(most, self._shares(row, most))
            if less == most:
                return most
            most = less

    cdef double _shares(self, Py_ssize_t row, double most) noexcept nogil:
        """Pods by the shares of all cards, at most `most` of each card; negative: no limit."""
        cdef double left = self.rows.data[_CARDS * self.rows.width + row]
        cdef double total = 0.0
        cdef double share
        cdef Py_ssize_t card
        for card in range(self.rows.cards.shape[0]):
            if left == 0.0:  # as in `_with_cards`
                break
            share = self.rows.data[self.rows.cards[card, 0] * self.rows.width + row]
            left -= share
            share = max(_floor(share / self.gpu_milli), 0.0)
            if most >= 0.0:
                share = min(share, most)
            total += share
        return _floor(total / self.gpu_cards)

    cdef int64_t replicas_at_slot(self, Py_ssize_t slot) except -1:
        """How many more replicas a site takes, less those that may lose their place in flight."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef double total = 0.0
        cdef bint has_in_flight = begin < end and self.rows.data[_PROFILE * self.rows.width + end - 1] == _IN_FLIGHT
        if self.gpu_cards and not self._has_cards(begin, end):
            return 0
        while begin < end:
            total += self._replicas_of_rows(slot, begin, min(end - begin, _BLOCK), True, True)
            begin += _BLOCK
        if has_in_flight and max(total, 0.0) < self.wanted and self.worst_case is not None:
            return self._worst_case(slot)
        return <int64_t>min(max(total, 0.0), _UNLIMITED)

    cdef int64_t _worst_case(self, Py_ssize_t slot) except -1:
        """What a site takes in the worst case of what is in flight, as in `in_flight_loss.py`.

        Beyond its limit of states the bounds are computed here. Below it the search is left to
        `worst_case`, unless it is plain that nothing remains: most full sites are so.
        """
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef double lost
        cdef double total = 0.0
        cdef Py_ssize_t index
        cdef Py_ssize_t takers
        cdef Taker* found = <Taker*>PyMem_Malloc((end - begin) * sizeof(Taker))
        if found == NULL:
            raise MemoryError
        try:
            takers = self._collect_takers(slot, found)
            if not takers or self._may_lose_all(slot, found, takers):
                return 0
            if not self.is_beyond_search(slot):
                return self.worst_case(slot)
            for index in range(takers):
                total += found[index].cap * found[index].count
            lost = self._bound(slot, found, takers)
            return <int64_t>min(max(total - lost, 0.0), _UNLIMITED)
        finally:
            PyMem_Free(found)

    cdef bint is_plainly_full(self, Py_ssize_t slot) except -1:
        """Whether no node takes a replica, or pods in flight may plainly take every place."""
        cdef Py_ssize_t takers
        cdef Taker* found = <Taker*>PyMem_Malloc(max(self.rows.length[slot], 1) * sizeof(Taker))
        if found == NULL:
            raise MemoryError
        takers = self._collect_takers(slot, found)
        cdef bint is_full = not takers or self._may_lose_all(slot, found, takers)
        PyMem_Free(found)
        return is_full

    cdef bint is_beyond_search(self, Py_ssize_t slot) noexcept nogil:
        """Whether pods in flight have more combinations than are searched."""
        cdef Py_ssize_t row = self.rows.start[slot] + self.rows.length[slot] - 1
        cdef double states = 1.0
        while row >= self.rows.start[slot] and self.rows.data[_PROFILE * self.rows.width + row] == _IN_FLIGHT:
            states *= self.rows.data[_COUNT * self.rows.width + row] + 1.0
            row -= 1
        return states > _MAX_STATES

    cdef Py_ssize_t _collect_takers(self, Py_ssize_t slot, Taker* found) noexcept nogil:
        """Writes the node rows of a site that take a replica to `found`; how many there are."""
        cdef double[_BLOCK] shares
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t row
        cdef double cap
        while begin < end:
            self._shares_of_rows(begin, min(end - begin, _BLOCK), shares)
            for row in range(begin, min(end, begin + _BLOCK)):
                cap = shares[row - begin]
                if cap < 1.0 or profiles[row] == _IN_FLIGHT or not self._is_usable(slot, <int64_t>profiles[row]):
                    continue
                cap = _floor(cap)
                if self.gpu_cards:
                    cap = self._with_cards(row, cap)
                if self.one_per_node:
                    cap = min(cap, 1.0)
                if cap < 1.0 or self.rows.data[_COUNT * self.rows.width + row] < 1.0:
                    continue
                found[count].row = row
                found[count].cap = min(cap, _UNLIMITED)
                found[count].count = self.rows.data[_COUNT * self.rows.width + row]
                count += 1
            begin += _BLOCK
        return count

    cdef bint _may_lose_all(self, Py_ssize_t slot, const Taker* found, Py_ssize_t takers) noexcept nogil:
        """Whether for each taker there is a pod in flight that fits there and leaves no place.

        Each pod is used once, the first that does it. So false proves nothing, but true does.
        """
        cdef double[_BLOCK] left
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width
        cdef Py_ssize_t end = self.rows.start[slot] + self.rows.length[slot]
        cdef Py_ssize_t flights = 0
        cdef Py_ssize_t index
        cdef Py_ssize_t flight
        cdef double missing
        cdef double some
        while flights < min(self.rows.length[slot], _BLOCK) and profiles[end - flights - 1] == _IN_FLIGHT:
            left[flights] = self.rows.data[_COUNT * self.rows.width + end - flights - 1]
            flights += 1
        for index in range(takers):
            missing = found[index].count
            for flight in range(flights):
                if left[flight] > 0.0 and self._takes_all(found[index].row, end - flight - 1, found[index].cap):
                    some = min(missing, left[flight])
                    missing -= some
                    left[flight] -= some
                    if missing <= 0.0:
                        break
            if missing > 0.0:
                return False
        return True

    cdef bint _takes_all(self, Py_ssize_t row, Py_ssize_t flight, double cap) noexcept nogil:
        """Whether a pod in flight fits on a node and leaves no place for a replica."""
        cdef const double* data = self.rows.data
        cdef Py_ssize_t width = self.rows.width
        cdef Py_ssize_t column
        cdef Py_ssize_t card
        cdef bint is_card
        cdef int index
        cdef bint leaves_none = False
        for index in range(self.count):
            column = self.columns[index]
            if data[column * width + row] + data[column * width + flight] < self.asked[index]:
                leaves_none = True
                break
        if not leaves_none:
            return False
        for column in range(_CARDS, self.rows.matrix.shape[0]):
            if data[column * width + flight] < 0.0 and data[column * width + row] + data[column * width + flight] < 0.0:
                is_card = False
                for card in range(self.rows.cards.shape[0]):
                    is_card = is_card or self.rows.cards[card, 0] == column
                if not is_card:
                    return False
        return True

    cdef double _bound(self, Py_ssize_t slot, Taker* found, Py_ssize_t takers) noexcept nogil:
        """The least of the bounds that `in_flight_loss.py` names; reorders `found`."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t row = begin + self.rows.length[slot] - 1
        cdef Py_ssize_t index
        cdef double[1] share
        cdef double by_pods = 0.0
        cdef double by_nodes = 0.0
        cdef double by_amounts = 0.0
        cdef double pods = 0.0
        cdef double budget = 0.0
        cdef double most_first = 1e300
        cdef double count
        cdef double card_loss
        cdef double touched
        cdef double left
        cdef double some
        qsort(found, takers, sizeof(Taker), _larger_cap_first)
        while row >= begin and self.rows.data[_PROFILE * self.rows.width + row] == _IN_FLIGHT:
            row -= 1
        for row in range(row + 1, begin + self.rows.length[slot]):
            count = self.rows.data[_COUNT * self.rows.width + row]
            self._shares_of_rows(row, 1, share)
            share[0] = -share[0] if self.count else 0.0
            card_loss = -self._with_cards(row, 0.0) if self.gpu_cards else 0.0
            if card_loss > 0.0:
                most_first = 1.0
            by_pods += count * min(max(ceil(share[0]), card_loss), found[0].cap)
            budget += count * max(share[0], card_loss)
            pods += count
        left = pods
        for index in range(takers):
            some = min(found[index].count, left)
            by_nodes += some * found[index].cap
            left -= some
        if self.count:
            self._write_firsts(found, takers, most_first)
            qsort(found, takers, sizeof(Taker), _smaller_first_first)
            touched = 0.0
            for index in range(takers):
                if found[index].first > 1.0 and touched > 0.0:
                    break
                some = min(min(found[index].count, pods - touched), floor(budget / found[index].first + _ROUNDING))
                touched += some
                budget = max(0.0, budget - some * found[index].first)
            by_amounts = touched + floor(budget + _ROUNDING)
        else:
            by_amounts = budget
        return min(by_pods, min(by_nodes, by_amounts))

    cdef void _write_firsts(self, Taker* found, Py_ssize_t takers, double most_first) noexcept nogil:
        cdef Py_ssize_t index
        cdef int number
        cdef double first
        for index in range(takers):
            found[index].first = most_first
            for number in range(self.count):
                first = self.rows.data[self.columns[number] * self.rows.width + found[index].row]
                first = (first - found[index].cap * self.asked[number] + 1.0) / self.asked[number]
                found[index].first = min(found[index].first, first)

    cdef bint _has_cards(self, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
        """Whether any node has enough free on its cards: most sites have no cards at all."""
        cdef const double* free = self.rows.data + _CARDS * self.rows.width
        cdef double asked = self.gpu_cards * self.gpu_milli
        cdef Py_ssize_t row
        for row in range(begin, end):
            if free[row] >= asked:
                return True
        return False

    cdef double _replicas_of_rows(
        self, Py_ssize_t slot, Py_ssize_t begin, Py_ssize_t rows, bint nodes, bint in_flight
    ) noexcept nogil:
        """What up to `_BLOCK` rows of a site take: its nodes, its rows in flight, or both."""
        cdef double[_BLOCK] shares
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width + begin
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width + begin
        cdef Py_ssize_t row
        cdef double fits
        cdef double total = 0.0
        self._shares_of_rows(begin, rows, shares)
        for row in range(rows):
            fits = shares[row]
            if 0.0 <= fits < 1.0:  # takes none; rows in flight are negative
                continue
            if not (in_flight if profiles[row] == _IN_FLIGHT else nodes):
                continue
            if not self._is_usable(slot, <int64_t>profiles[row]):
                continue
            if not self.count and profiles[row] == _IN_FLIGHT:  # a pod without requests loses nothing
                fits = 0.0
            fits = _floor(fits)
            if self.gpu_cards:
                fits = self._with_cards(begin + row, fits)
            if self.one_per_node:
                fits = min(max(fits, -1.0), 1.0)
            total += fits * counts[row]
        return total

    cdef int64_t replicas_by_sums_at_slot(self, Py_ssize_t slot, const double[:, ::1] in_flight) noexcept nogil:
        """What the sums of a site's free capacity would take, as in `summed_capacity.py`.

        Cards come first: most sites have none, and need no further sums.
        """
        cdef int index
        cdef double left
        cdef double least = _UNLIMITED
        if self.gpu_cards:
            left = self._free_sum(slot, _CARDS, in_flight) / (self.gpu_cards * self.gpu_milli)
            if left < 1.0:
                return 0
            least = min(least, left)
        for index in range(self.count):
            left = self._free_sum(slot, self.columns[index], in_flight) / self.asked[index]
            if left < 1.0:
                return 0
            least = min(least, left)
        return <int64_t>least

    cdef double _free_sum(
        self, Py_ssize_t slot, int64_t column, const double[:, ::1] in_flight
    ) noexcept nogil:
        """The sum of a column over the nodes of a site, less what is in flight."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef const double* free = self.rows.data + column * self.rows.width
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width
        cdef Py_ssize_t row
        cdef double left = 0.0
        for row in range(begin, begin + self.rows.length[slot]):
            if profiles[row] != _IN_FLIGHT and self._is_usable(slot, <int64_t>profiles[row]):
                left += free[row] * counts[row]
        return left - in_flight[column, slot] if column < in_flight.shape[0] else left

    def replicas_at(self, const int64_t[::1] slots):
        """How many more replicas sites take; [slots].

        Raises:
            IndexError: there is no such slot.
        """
        found = np.empty(slots.shape[0], np.int64)
        cdef int64_t[::1] replicas = found
        _check_slots(slots, self.rows.start.shape[0])
        cdef Py_ssize_t index
        for index in range(slots.shape[0]):
            replicas[index] = self.replicas_at_slot(slots[index])
        return found

    def replicas_by_sums(self, const int64_t[::1] slots, const double[:, ::1] in_flight):
        """What the sums of sites' free capacity would take, as in `summed_capacity.py`; [slots].

        Args:
            slots: the sites.
            in_flight: sums of the requests in flight at all sites; [columns, slot_capacity].

        Raises:
            IndexError: there is no such slot.
        """
        found = np.empty(slots.shape[0], np.int64)
        cdef int64_t[::1] sums = found
        cdef Py_ssize_t index
        _check_slots(slots, min(self.rows.start.shape[0], in_flight.shape[1]))
        for index in range(slots.shape[0]):
            sums[index] = self.replicas_by_sums_at_slot(slots[index], in_flight)
        return found

    def count_fragmented(
        self, const int64_t[::1] slots, const int64_t[::1] sums, int64_t replicas, FullSiteTracker full
    ):
        """At how many sites only the sums suffice, as `is_fragmented` in `result.py` defines it.

        Args:
            slots: the sites.
            sums: the replicas that their sums would take; [slots].
            replicas: how many replicas are asked.
            full: sites that are known to take nothing; None: no such cache.

        Raises:
            IndexError: there is no such slot.
            ValueError: not one sum for each slot.
        """
        cdef Py_ssize_t index
        cdef int64_t most
        cdef int64_t found = 0
        _check_slots(slots, self.rows.start.shape[0])
        _check_length(sums.shape[0], slots.shape[0])
        for index in range(slots.shape[0]):
            if sums[index]:
                most = 0
                if full is None or not full.is_full(slots[index]):
                    most = self.replicas_at_slot(slots[index])
                if not most or (most < replicas and sums[index] >= replicas):
                    found += 1
        return found

    def cheapest(
        self,
        const int64_t[::1] slots,
        const double[::1] cny,
        unknown,
        const uint64_t[::1] name_hashes,
        uint64_t salt,
        FullSiteTracker full,
    ):
        """The sites of `slots` that take a replica, cheapest first; see `Cheapest`."""
        return Cheapest(self, slots, cny, unknown, name_hashes, salt, full)


cdef class FullSiteTracker:
    """Sites that take nothing of any shape of a cell, see `full_sites.py`.

    Args:
        full_at_versions: the version of a site's rows at which it was found full; [slot_capacity];
            updated.
        versions: the version that a site's rows have now; [slot_capacity].
        smallest: the fit of the smallest shape of the cell.
        is_surely_full: whether a slot takes none of that shape in the worst case of what is in
            flight, and this is proven.

    Raises:
        ValueError: an array does not have the length of the fleet's.
    """

    cdef int64_t[::1] full_at_versions
    cdef const int64_t[::1] versions
    cdef Fit smallest
    cdef object is_surely_full

    def __init__(self, int64_t[::1] full_at_versions, const int64_t[::1] versions, Fit smallest, is_surely_full):
        _check_length(full_at_versions.shape[0], smallest.rows.start.shape[0])
        _check_length(versions.shape[0], smallest.rows.start.shape[0])
        self.full_at_versions = full_at_versions
        self.versions = versions
        self.smallest = smallest
        self.is_surely_full = is_surely_full

    cdef bint is_full(self, Py_ssize_t slot) noexcept nogil:
        """Whether a site is known to take nothing."""
        return self.full_at_versions[slot] == self.versions[slot]

    cdef int mark(self, Py_ssize_t slot) except -1:
        """Records a site as full, if it is full for the whole cell."""
        if self.smallest.is_plainly_full(slot) or (
            not self.smallest.is_beyond_search(slot) and self.is_surely_full(slot)
        ):
            self.full_at_versions[slot] = self.versions[slot]
        return 0


cdef struct Candidate:
    double cny
    int64_t unknown
    uint64_t tie
    Py_ssize_t index
    int64_t slot


cdef bint _before(const Candidate* one, const Candidate* other) noexcept nogil:
    """The order of `SiteCosts.sort_cheapest_first`.

    By number of missing figures, cost (NaN last), tie breaker, and position in the input.
    """
    if one.unknown != other.unknown:
        return one.unknown < other.unknown
    if one.cny < other.cny:
        return True
    if one.cny > other.cny:
        return False
    if (one.cny != one.cny) != (other.cny != other.cny):
        return other.cny != other.cny
    if one.tie != other.tie:
        return one.tie < other.tie
    return one.index < other.index


cdef class Cheapest:
    """Sites that take a replica, cheapest first; their capacity is computed only when needed.

    Iterating gives (slot, how many more replicas it takes), in the order of
    `SiteCosts.sort_cheapest_first`. The sites are kept in a binary heap.

    Args:
        fit: what sites take.
        slots: the sites.
        cny: what a replica costs for an hour; [slot_capacity].
        unknown: how many figures of that are missing, [slot_capacity]; None: none at any site.
        name_hashes: as in `Fleet`; [slot_capacity].
        salt: the number of the workload, for ties.
        full: sites that are known to be full, to which more are added; None: no such cache.

    Raises:
        IndexError: there is no such slot.
        ValueError: `cny` and `unknown` differ in length.
    """

    cdef Fit fit
    cdef FullSiteTracker full
    cdef Candidate* heap
    cdef Py_ssize_t left

    def __cinit__(
        self,
        Fit fit,
        const int64_t[::1] slots,
        const double[::1] cny,
        unknown,
        const uint64_t[::1] name_hashes,
        uint64_t salt,
        FullSiteTracker full,
    ):
        cdef Py_ssize_t index
        cdef int64_t slot
        cdef const int64_t[::1] missing
        cdef bint is_any_missing = unknown is not None
        cdef Py_ssize_t made = 0
        _check_slots(slots, min(cny.shape[0], name_hashes.shape[0], fit.rows.start.shape[0]))
        self.fit = fit
        self.full = full
        self.heap = <Candidate*>PyMem_Malloc(max(slots.shape[0], 1) * sizeof(Candidate))
        if self.heap == NULL:
            raise MemoryError
        if is_any_missing:
            missing = unknown
            _check_length(missing.shape[0], cny.shape[0])
        for index in range(slots.shape[0]):
            slot = slots[index]
            if full is not None and full.is_full(slot):
                continue
            self.heap[made].slot = slot
            self.heap[made].index = index
            self.heap[made].cny = cny[slot]
            self.heap[made].tie = (name_hashes[slot] ^ salt) * _ODD
            self.heap[made].unknown = missing[slot] if is_any_missing else 0
            made += 1
        self.left = made
        for index in range(self.left // 2 - 1, -1, -1):
            self._sink(index)

    def __dealloc__(self):
        PyMem_Free(self.heap)

    cdef void _sink(self, Py_ssize_t index) noexcept nogil:
        """Restores the order of the heap below a place whose entry may be too expensive for it."""
        cdef Candidate moved = self.heap[index]
        cdef Py_ssize_t child
        while True:
            child = 2 * index + 1
            if child >= self.left:
                break
            if child + 1 < self.left and _before(&self.heap[child + 1], &self.heap[child]):
                child += 1
            if not _before(&self.heap[child], &moved):
                break
            self.heap[index] = self.heap[child]
            index = child
        self.heap[index] = moved

    cdef int64_t _next(self, int64_t* slot) except -1:
        """Finds the next site that takes a replica, and writes its slot to `slot`.

        Returns:
            How many replicas it takes; 0 when no site is left.
        """
        cdef int64_t most
        while self.left:
            slot[0] = self.heap[0].slot
            self.left -= 1
            self.heap[0] = self.heap[self.left]
            self._sink(0)
            most = self.fit.replicas_at_slot(slot[0])
            if most > 0:
                return most
            if self.full is not None:
                self.full.mark(slot[0])
        return 0

    def __iter__(self):
        return self

    def __next__(self):
        cdef int64_t slot = 0
        cdef int64_t most = self._next(&slot)
        if not most:
            raise StopIteration
        return slot, most

    def fill(self, dict shares, int64_t missing):
        """Assigns replicas to the cheapest sites, to each all that it takes.

        Args:
            shares: replicas by slot; what sites get is added.
            missing: how many replicas to assign.

        Returns:
            Whether all were assigned.
        """
        cdef int64_t slot = 0
        cdef int64_t most
        cdef bint is_new = not shares
        while missing > 0:
            most = self._next(&slot)
            if not most:
                return False
            most = min(most, missing)
            shares[slot] = most if is_new else shares.get(slot, 0) + most
            missing -= most
        return True


def sum_terms(terms, Py_ssize_t slot_capacity):
    """What a replica costs at every site: each cost times its units, added up; [slot_capacity].

    Args:
        terms: as in `SiteCosts`; the figures of each are [slot_capacity].
        slot_capacity: the number of slots of the fleet.

    Raises:
        ValueError: figures have another length.
    """
    found = np.zeros(slot_capacity)
    cdef double[::1] total = found
    cdef const double[::1] figures
    cdef double units
    cdef Py_ssize_t slot
    cdef bint is_first = True
    for _, amount, figure in terms:
        units = amount
        figures = figure.value
        _check_length(figures.shape[0], slot_capacity)
        for slot in range(slot_capacity):
            if is_first:
                total[slot] = figures[slot] * units
            else:
                total[slot] += figures[slot] * units
        is_first = False
    return found


def apply_grant_rule(
    uint8_t[::1] first_refusal_ranks,
    int64_t[::1] grant_bits_in_play,
    const int64_t[::1] accepted_bits,
    uint8_t[::1] passed,
    uint8_t rank,
):
    """Applies a grant rule: it keeps those grants in play that it accepts.

    Where none remains, the rule refuses the site, and the grants in play stay as they were, so that
    later rules are judged on their own.

    Args:
        first_refusal_ranks: the rank of the first rule that refuses; [slot_capacity]; updated.
        grant_bits_in_play: the grants in play, as bits; [slot_capacity]; updated.
        accepted_bits: the grants that the rule accepts, as bits; [slot_capacity].
        passed: 1 where a grant remains; [slot_capacity]; written.
        rank: the rank of the rule.

    Raises:
        ValueError: the arrays differ in length.
    """
    cdef Py_ssize_t slot
    cdef int64_t left
    _check_length(grant_bits_in_play.shape[0], first_refusal_ranks.shape[0])
    _check_length(accepted_bits.shape[0], first_refusal_ranks.shape[0])
    _check_length(passed.shape[0], first_refusal_ranks.shape[0])
    for slot in range(first_refusal_ranks.shape[0]):
        left = grant_bits_in_play[slot] & accepted_bits[slot]
        passed[slot] = left != 0
        if left:
            grant_bits_in_play[slot] = left
        elif rank < first_refusal_ranks[slot]:
            first_refusal_ranks[slot] = rank


def count_ranks(const uint8_t[::1] first_refusal_ranks, Py_ssize_t max_rank):
    """How many slots have each rank, as a list from 0 to `max_rank` (255 at most)."""
    cdef Py_ssize_t slot
    cdef int64_t[256] counts
    for slot in range(256):
        counts[slot] = 0
    for slot in range(first_refusal_ranks.shape[0]):
        counts[first_refusal_ranks[slot]] += 1
    return [counts[slot] for slot in range(max_rank + 1)]


def merge_ranks(const uint8_t[::1] one, const uint8_t[::1] other, third):
    """The lowest of two or three ranks of each site, [slot_capacity], and the admitted slots.

    Raises:
        ValueError: the arrays differ in length.
    """
    cdef Py_ssize_t capacity = one.shape[0]
    cdef Py_ssize_t slot
    cdef Py_ssize_t count = 0
    cdef uint8_t rank
    cdef const uint8_t[::1] more = other if third is None else third
    _check_length(other.shape[0], capacity)
    _check_length(more.shape[0], capacity)
    first = np.empty(capacity, np.uint8)
    slots = np.empty(capacity, np.int64)
    cdef uint8_t[::1] ranks = first
    cdef int64_t[::1] passing = slots
    for slot in range(capacity):
        rank = min(min(one[slot], other[slot]), more[slot])
        ranks[slot] = rank
        if rank == _NONE:
            passing[count] = slot
            count += 1
    return first, slots[:count]
