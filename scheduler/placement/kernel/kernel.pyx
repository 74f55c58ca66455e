# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The arithmetic of single decisions, compiled: capacity of sites, order of cost, sums of money.

It computes what `filter.py`, `capacity.py`, `full_sites.py`, `site_costs.py`, `divide.py`,
`summed_capacity.py` and `result.py` compute with arrays, operation by operation in the same order
(build_kernel.py has the flags), so that both give the same bytes; only without the dozens of calls
on short arrays that are most of what a decision costs there. Typed memoryviews only, no NumPy at C
level. `loader.py` says whether it may be used, `kernel.pyi` has the types.

Slots are numbers of sites, `capacity` is how many there are room for, as in `fleet.py`.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport floor
from libc.stdint cimport int64_t, uint8_t, uint64_t

import numpy as np

INTERFACE: int = 6
"""Raised with every change of a signature or of what a function means; loader.py compares it."""

cdef enum:
    _COUNT = 0  # the columns that every fleet has, as in node_table.py
    _KIND = 1
    _CARDS = 2
    _IN_FLIGHT = 0  # the kind of rows that are no nodes, as in node_table.py
    _MOST_COLUMNS = 16
    _BLOCK = 64  # rows that are looked at in one go

cdef double _ENDLESS = 1_000_000.0  # as in summed_capacity.py
cdef uint64_t _ODD = 0x9E3779B97F4A7C15  # as in site_costs.py
cdef uint8_t _NONE = 255  # the rank of a site that no rule refuses, as in filter.py

MOST_COLUMNS = _MOST_COLUMNS
"""Pods that ask for more different resources are fitted by `capacity.py`."""


cdef inline double _floor(double value) noexcept nogil:
    """`floor`, without a call where the value is a whole number's neighbour that fits an int64."""
    cdef double whole
    if not -9e15 < value < 9e15:
        return floor(value)
    whole = <double><int64_t>value
    return whole - 1.0 if whole > value else whole


cdef inline int _all_within(const int64_t[::1] slots, Py_ssize_t capacity) except -1:
    """Nothing outside of an array is ever read: that would be no error, but any answer."""
    cdef Py_ssize_t place
    for place in range(slots.shape[0]):
        if not 0 <= slots[place] < capacity:
            raise IndexError(f"slot {slots[place]} of {capacity}")
    return 0


cdef inline int _as_long(Py_ssize_t length, Py_ssize_t capacity) except -1:
    """Refuses an array that is not as long as another."""
    if length != capacity:
        raise ValueError(f"an array of {length} for {capacity} slots")
    return 0


cdef class Rows:
    """The node rows of a fleet; made anew when the fleet's arrays are.

    Args:
        matrix: the columns of `ragged.py`; [columns, rows].
        start: the first row of each site; [capacity].
        length: how many rows each site has; [capacity].
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


cdef class Fit:
    """How many more replicas of one shape of pod a site takes.

    Args:
        rows: the node rows.
        columns: the columns of the resources that a pod asks.
        asked: how much of each.
        gpu_cards: on how many different cards a pod takes a share; 0: on none.
        gpu_milli: the share of one card, in thousandths.
        one_per_node: whether a node takes one at most.
        chosen: 1 for each kind of node that will do, [kinds]; None: all.
        sets: the set of permitted CPU vendors of each site, [capacity]; None: any.
        permitted: 1 for each kind that a set permits; [vendor sets, kinds].

    Raises:
        ValueError: more than `MOST_COLUMNS` resources.
        IndexError: there is no such column.
    """

    cdef Rows rows
    cdef int count
    cdef int64_t columns[_MOST_COLUMNS]
    cdef double asked[_MOST_COLUMNS]
    cdef int64_t gpu_cards
    cdef double gpu_milli
    cdef bint one_per_node
    cdef bint is_any_kind
    cdef bint is_any_vendor
    cdef const uint8_t[::1] chosen
    cdef const int64_t[::1] sets
    cdef const uint8_t[:, ::1] permitted

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
    ):
        cdef int place = 0
        self.rows = rows
        self.count = len(columns)
        if self.count > _MOST_COLUMNS:
            raise ValueError(f"at most {_MOST_COLUMNS} resources; got {self.count}")
        for column, amount in zip(columns, asked):
            if not 0 <= column < rows.matrix.shape[0]:
                raise IndexError(f"there is no column {column}")
            self.columns[place] = column
            self.asked[place] = amount
            place += 1
        self.gpu_cards = gpu_cards
        self.gpu_milli = gpu_milli
        self.one_per_node = one_per_node
        self.is_any_kind = chosen is None
        self.is_any_vendor = sets is None
        if chosen is not None:
            self.chosen = chosen
        if sets is not None:
            self.sets = sets
            self.permitted = permitted

    cdef bint _is_usable(self, Py_ssize_t slot, int64_t kind) noexcept nogil:
        """Whether the shape may stand on this kind of node, and the site's grant permits it."""
        if not self.is_any_kind and not self.chosen[kind]:
            return False
        return self.is_any_vendor or self.permitted[self.sets[slot], kind]

    cdef void _shares_of_rows(self, Py_ssize_t begin, Py_ssize_t rows, double* fits) noexcept nogil:
        """How often each of up to `_BLOCK` rows holds what is asked, cards left out.

        Row by row there would be a branch for each, which half of the time is guessed wrong.
        """
        cdef const double* free
        cdef double asked
        cdef double share
        cdef Py_ssize_t row
        cdef int place
        for row in range(rows):
            fits[row] = _ENDLESS
        for place in range(self.count):
            free = self.rows.data + self.columns[place] * self.rows.width + begin
            asked = self.asked[place]
            if place == 0:
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
        """Cards are looked at only where everything else fits, and of what is in flight."""
        cdef double free = self.rows.data[_CARDS * self.rows.width + row]
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
            if share < 0.0 or share >= self.gpu_milli:  # in between none fits, without a division
                pods += _floor(share / self.gpu_milli)
        if self.gpu_cards > 1 and pods >= 0.0:
            pods = self._on_different_cards(row)
        return min(fits, pods)

    cdef double _on_different_cards(self, Py_ssize_t row) noexcept nogil:
        """The fixed point that `fit.sharing` describes."""
        cdef double most = self._shares(row, -1.0)
        cdef double less
        while True:
            less = min(most, self._shares(row, most))
            if less == most:
                return most
            most = less

    cdef double _shares(self, Py_ssize_t row, double most) noexcept nogil:
        """Pods by the shares of all cards, of each at most `most`; below 0: no limit."""
        cdef double total = 0.0
        cdef double share
        cdef Py_ssize_t card
        for card in range(self.rows.cards.shape[0]):
            share = self.rows.data[self.rows.cards[card, 0] * self.rows.width + row]
            share = max(_floor(share / self.gpu_milli), 0.0)
            if most >= 0.0:
                share = min(share, most)
            total += share
        return _floor(total / self.gpu_cards)

    cdef int64_t room_at(self, Py_ssize_t slot) noexcept nogil:
        """Replicas that a site takes, what is in flight taken off."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef double total = 0.0
        if self.gpu_cards and not self._has_cards(begin, end):
            return 0
        while begin < end:
            total += self._room_of_rows(slot, begin, min(end - begin, _BLOCK), True, True)
            begin += _BLOCK
        return <int64_t>min(max(total, 0.0), _ENDLESS)

    cdef double part_at(self, Py_ssize_t slot, bint nodes, bint flights) noexcept nogil:
        """What a site's nodes take, or what is lost to what is in flight there."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef double total = 0.0
        while begin < end:
            total += self._room_of_rows(slot, begin, min(end - begin, _BLOCK), nodes, flights)
            begin += _BLOCK
        return total

    cdef bint _has_cards(self, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
        """Whether any node has as much of its cards left: most sites have none."""
        cdef const double* free = self.rows.data + _CARDS * self.rows.width
        cdef double asked = self.gpu_cards * self.gpu_milli
        cdef Py_ssize_t row
        for row in range(begin, end):
            if free[row] >= asked:
                return True
        return False

    cdef double _room_of_rows(
        self, Py_ssize_t slot, Py_ssize_t begin, Py_ssize_t rows, bint nodes, bint flights
    ) noexcept nogil:
        """What up to `_BLOCK` rows of a site take, those of `nodes` or `flights` or both."""
        cdef double[_BLOCK] shares
        cdef const double* kinds = self.rows.data + _KIND * self.rows.width + begin
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width + begin
        cdef Py_ssize_t row
        cdef double fits
        cdef double total = 0.0
        self._shares_of_rows(begin, rows, shares)
        for row in range(rows):
            fits = shares[row]
            if 0.0 <= fits < 1.0:
                continue
            if not (flights if kinds[row] == _IN_FLIGHT else nodes):
                continue
            if not self._is_usable(slot, <int64_t>kinds[row]):
                continue
            if not self.count and kinds[row] == _IN_FLIGHT:
                fits = 0.0
            fits = _floor(fits)
            if self.gpu_cards:
                fits = self._with_cards(begin + row, fits)
            if self.one_per_node:
                fits = min(max(fits, -1.0), 1.0)
            total += fits * counts[row]
        return total

    cdef int64_t summed_at(self, Py_ssize_t slot, const double[:, ::1] flying) noexcept nogil:
        """What the sums of a site's free capacity would take, as in `summed_capacity.py`; cards first."""
        cdef int place
        cdef double left
        cdef double least = _ENDLESS
        if self.gpu_cards:
            left = self._left(slot, _CARDS, flying) / (self.gpu_cards * self.gpu_milli)
            if left < 1.0:
                return 0
            least = min(least, left)
        for place in range(self.count):
            left = self._left(slot, self.columns[place], flying) / self.asked[place]
            if left < 1.0:
                return 0
            least = min(least, left)
        return <int64_t>least

    cdef double _left(
        self, Py_ssize_t slot, int64_t column, const double[:, ::1] flying
    ) noexcept nogil:
        """The sum of a column over the nodes of a site, less what is in flight."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef const double* free = self.rows.data + column * self.rows.width
        cdef const double* kinds = self.rows.data + _KIND * self.rows.width
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width
        cdef Py_ssize_t row
        cdef double left = 0.0
        for row in range(begin, begin + self.rows.length[slot]):
            if kinds[row] != _IN_FLIGHT and self._is_usable(slot, <int64_t>kinds[row]):
                left += free[row] * counts[row]
        return left - flying[column, slot] if column < flying.shape[0] else left

    def rooms(self, const int64_t[::1] slots):
        """How many more replicas sites take; [slots].

        Raises:
            IndexError: there is no such slot.
        """
        found = np.empty(slots.shape[0], np.int64)
        cdef int64_t[::1] rooms = found
        _all_within(slots, self.rows.start.shape[0])
        cdef Py_ssize_t place
        for place in range(slots.shape[0]):
            rooms[place] = self.room_at(slots[place])
        return found

    def sums(self, const int64_t[::1] slots, const double[:, ::1] flying):
        """What the sums of their free capacity would take, as in `summed_capacity.py`; [slots].

        Args:
            slots: the sites.
            flying: what is in flight at all sites; [columns, capacity].

        Raises:
            IndexError: there is no such slot.
        """
        found = np.empty(slots.shape[0], np.int64)
        cdef int64_t[::1] sums = found
        cdef Py_ssize_t place
        _all_within(slots, min(self.rows.start.shape[0], flying.shape[1]))
        for place in range(slots.shape[0]):
            sums[place] = self.summed_at(slots[place], flying)
        return found

    def fragmented(
        self, const int64_t[::1] slots, const int64_t[::1] sums, int64_t replicas, Full full
    ):
        """At how many sites the sum would do, though no node, or too few, have enough.

        Args:
            slots: the sites.
            sums: what their sums would take; [slots].
            replicas: how many are asked.
            full: sites that are known to take nothing; None: of none it is known.

        Raises:
            IndexError: there is no such slot.
            ValueError: not one sum for each slot.
        """
        cdef Py_ssize_t place
        cdef int64_t room
        cdef int64_t found = 0
        _all_within(slots, self.rows.start.shape[0])
        _as_long(sums.shape[0], slots.shape[0])
        for place in range(slots.shape[0]):
            if sums[place]:
                room = 0
                if full is None or not full.holds(slots[place]):
                    room = self.room_at(slots[place])
                if not room or (room < replicas and sums[place] >= replicas):
                    found += 1
        return found

    def cheapest(
        self,
        const int64_t[::1] slots,
        const double[::1] cny,
        unknown,
        const uint64_t[::1] name_hashes,
        uint64_t salt,
        Full full,
    ):
        """The sites of `slots` that have room, cheapest first; see `Cheapest`."""
        return Cheapest(self, slots, cny, unknown, name_hashes, salt, full)


cdef class Full:
    """Sites that take nothing of any shape of a cell, see `full_sites.py`.

    Args:
        stamp: the version of a site's rows for which it is full; [capacity]; written here.
        versions: the version that its rows have now; [capacity].
        smallest: the fit of the smallest shape of the cell.
        largest: the fit of the largest.

    Raises:
        ValueError: an array is not as long as the fleet's.
    """

    cdef int64_t[::1] stamp
    cdef const int64_t[::1] versions
    cdef Fit smallest
    cdef Fit largest

    def __init__(self, int64_t[::1] stamp, const int64_t[::1] versions, Fit smallest, Fit largest):
        _as_long(stamp.shape[0], smallest.rows.start.shape[0])
        _as_long(versions.shape[0], smallest.rows.start.shape[0])
        self.stamp = stamp
        self.versions = versions
        self.smallest = smallest
        self.largest = largest

    cdef bint holds(self, Py_ssize_t slot) noexcept nogil:
        """Whether it is known that a site takes nothing."""
        return self.stamp[slot] == self.versions[slot]

    cdef void note(self, Py_ssize_t slot) noexcept nogil:
        """Remembers a site without room, if it has none for the whole cell."""
        cdef double most = self.smallest.part_at(slot, True, False)
        if most + self.largest.part_at(slot, False, True) <= 0.0:
            self.stamp[slot] = self.versions[slot]


cdef struct Candidate:
    double cny
    int64_t unknown
    uint64_t tie
    Py_ssize_t place
    int64_t slot


cdef bint _before(const Candidate* one, const Candidate* other) noexcept nogil:
    """The order of `Price.sorted`: missing figures, money (NaN last), tie, and as they came."""
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
    return one.place < other.place


cdef class Cheapest:
    """Sites with room, cheapest first; each is looked at only when it is asked for.

    Iterated, it gives (slot, how many more replicas it takes) in the order of `Price.sorted`.

    Args:
        fit: what sites take.
        slots: the sites.
        cny: what a replica costs for an hour; [capacity].
        unknown: how many figures behind it are missing, [capacity]; None: of no site any.
        name_hashes: as in `Fleet`; [capacity].
        salt: the number of the workload, for ties.
        full: sites that are known to take nothing, and where new ones are noted; None: nowhere.

    Raises:
        IndexError: there is no such slot.
        ValueError: `cny` and `unknown` differ in length.
    """

    cdef Fit fit
    cdef Full full
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
        Full full,
    ):
        cdef Py_ssize_t place
        cdef int64_t slot
        cdef const int64_t[::1] missing
        cdef bint is_any_missing = unknown is not None
        cdef Py_ssize_t made = 0
        _all_within(slots, min(cny.shape[0], name_hashes.shape[0], fit.rows.start.shape[0]))
        self.fit = fit
        self.full = full
        self.heap = <Candidate*>PyMem_Malloc(max(slots.shape[0], 1) * sizeof(Candidate))
        if self.heap == NULL:
            raise MemoryError
        if is_any_missing:
            missing = unknown
            _as_long(missing.shape[0], cny.shape[0])
        for place in range(slots.shape[0]):
            slot = slots[place]
            if full is not None and full.holds(slot):
                continue
            self.heap[made].slot = slot
            self.heap[made].place = place
            self.heap[made].cny = cny[slot]
            self.heap[made].tie = (name_hashes[slot] ^ salt) * _ODD
            self.heap[made].unknown = missing[slot] if is_any_missing else 0
            made += 1
        self.left = made
        for place in range(self.left // 2 - 1, -1, -1):
            self._sink(place)

    def __dealloc__(self):
        PyMem_Free(self.heap)

    cdef void _sink(self, Py_ssize_t place) noexcept nogil:
        """Restores the order of the heap below a place of which only the entry may be too dear."""
        cdef Candidate moved = self.heap[place]
        cdef Py_ssize_t child
        while True:
            child = 2 * place + 1
            if child >= self.left:
                break
            if child + 1 < self.left and _before(&self.heap[child + 1], &self.heap[child]):
                child += 1
            if not _before(&self.heap[child], &moved):
                break
            self.heap[place] = self.heap[child]
            place = child
        self.heap[place] = moved

    cdef int64_t _next(self, int64_t* slot) noexcept nogil:
        """The next site with room, and how much; 0: there is none."""
        cdef int64_t room
        while self.left:
            slot[0] = self.heap[0].slot
            self.left -= 1
            self.heap[0] = self.heap[self.left]
            self._sink(0)
            room = self.fit.room_at(slot[0])
            if room > 0:
                return room
            if self.full is not None:
                self.full.note(slot[0])
        return 0

    def __iter__(self):
        return self

    def __next__(self):
        cdef int64_t slot = 0
        cdef int64_t room = self._next(&slot)
        if not room:
            raise StopIteration
        return slot, room

    def fill(self, dict shares, int64_t missing):
        """Gives out replicas, all that a site takes before the next is looked at.

        Args:
            shares: replicas by slot; what sites get is added.
            missing: how many to give out.

        Returns:
            Whether there was room for all.
        """
        cdef int64_t slot = 0
        cdef int64_t room
        cdef bint is_new = not shares
        while missing > 0:
            room = self._next(&slot)
            if not room:
                return False
            room = min(room, missing)
            shares[slot] = room if is_new else shares.get(slot, 0) + room
            missing -= room
        return True


def added(terms, Py_ssize_t capacity):
    """What a replica costs at every site: each cost times its units, added up; [capacity].

    Args:
        terms: as in `Price`; the figures of each are [capacity].
        capacity: of the fleet.

    Raises:
        ValueError: figures of another length.
    """
    found = np.zeros(capacity)
    cdef double[::1] total = found
    cdef const double[::1] figures
    cdef double units
    cdef Py_ssize_t slot
    cdef bint is_first = True
    for _, amount, figure in terms:
        units = amount
        figures = figure.value
        _as_long(figures.shape[0], capacity)
        for slot in range(capacity):
            if is_first:
                total[slot] = figures[slot] * units
            else:
                total[slot] += figures[slot] * units
        is_first = False
    return found


def judged(
    uint8_t[::1] first,
    int64_t[::1] bits,
    const int64_t[::1] accepted,
    uint8_t[::1] holds,
    uint8_t rank,
):
    """Of the grants still in play, `bits`, a rule leaves those that it accepts.

    Where it leaves none, it refuses, and the rules after it are judged by themselves again.

    Args:
        first: the rank of the first rule that refuses; [capacity]; changed.
        bits: the grants in play; [capacity]; changed.
        accepted: the grants that the rule accepts, as bits; [capacity].
        holds: 1 where it leaves any; [capacity]; written.
        rank: of the rule.

    Raises:
        ValueError: the arrays differ in length.
    """
    cdef Py_ssize_t slot
    cdef int64_t left
    _as_long(bits.shape[0], first.shape[0])
    _as_long(accepted.shape[0], first.shape[0])
    _as_long(holds.shape[0], first.shape[0])
    for slot in range(first.shape[0]):
        left = bits[slot] & accepted[slot]
        holds[slot] = left != 0
        if left:
            bits[slot] = left
        elif rank < first[slot]:
            first[slot] = rank


def tallied(const uint8_t[::1] first, Py_ssize_t most):
    """How many slots have each rank, as a list from 0 to `most` (255 at most)."""
    cdef Py_ssize_t slot
    cdef int64_t[256] counts
    for slot in range(256):
        counts[slot] = 0
    for slot in range(first.shape[0]):
        counts[first[slot]] += 1
    return [counts[slot] for slot in range(most + 1)]


def admitted(const uint8_t[::1] one, const uint8_t[::1] other, third):
    """The lowest rank of two or three, [capacity], and the slots that no rule refuses.

    Raises:
        ValueError: the arrays differ in length.
    """
    cdef Py_ssize_t capacity = one.shape[0]
    cdef Py_ssize_t slot
    cdef Py_ssize_t count = 0
    cdef uint8_t rank
    cdef const uint8_t[::1] more = other if third is None else third
    _as_long(other.shape[0], capacity)
    _as_long(more.shape[0], capacity)
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
