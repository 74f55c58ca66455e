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
from libc.math cimport INFINITY, ceil, floor
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy

import numpy as np

INTERFACE: int = 16
"""Incremented with every change of a signature or of a function's meaning; `loader.py` checks it."""

cdef enum:
    _COUNT = 0  # the columns that every fleet has, as in node_table.py
    _PROFILE = 1
    _CARDS = 2
    _IN_FLIGHT = 0  # the profile of rows that are no nodes but in flight, as in node_table.py
    _MAX_COLUMNS = 16
    _PODS = 4  # the columns that always exist, as in columns.py; the next two keep headroom free
    _CPU = 5
    _MEMORY = 6
    _AMOUNTS = 3  # of these the kernel keeps the most that a node of a site has free
    _MAX_PEAK_CARDS = 8  # and of so many of its cards, the most free first
    _PEAKS = 11
    _MAX_STATES = 32  # as in in_flight_loss.py
    _MAX_STEPS = 2000
    _MAX_KINDS = 5  # two states each are 32 in all
    _MAX_ASKED = 32  # resources that pods in flight of one site ask for; of more Python is asked
    _MAX_KNOWN = 64  # worst cases that a fit remembers
    _IS_BOUND = 0  # what `_most_lost` found
    _IS_EXACT = 1
    _IS_UNKNOWN = 2
    _FIRST_DOMAIN = 2  # as in label_index.py
    _SITES_OF_BLOCK = 32  # of `Cheapest`
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
        versions: the version that a site's rows have now; [slot_capacity].
        read_versions: the version that `headroom` was read at; [slot_capacity].
        headroom: the share that is kept free for the cluster's scheduler; NaN: what is in flight
            at the site cannot be searched here; [slot_capacity].
        writes: how often the nodes of each site were written; [slot_capacity].
        read: writes the two of one slot.

    Raises:
        ValueError: an array does not have the length of the others.
    """

    cdef const double[:, ::1] matrix
    cdef const int64_t[::1] start
    cdef const int64_t[::1] length
    cdef const int64_t[:, ::1] cards
    cdef const double* data
    cdef Py_ssize_t width
    cdef const int64_t[::1] versions
    cdef const int64_t[::1] read_versions
    cdef const double[::1] headroom
    cdef const int64_t[::1] writes
    cdef object read
    cdef readonly tuple arrays
    cdef double[:, ::1] peaks  # see `peaks_of`; [slot_capacity, _PEAKS]
    cdef int64_t[::1] peaks_at  # the number of writes that `peaks` holds for; [slot_capacity]

    def __init__(self, matrix, start, length, cards, versions, read_versions, headroom, writes, read):
        self.matrix = matrix
        self.start = start
        self.length = length
        self.cards = cards
        self.data = &self.matrix[0, 0]
        self.width = self.matrix.shape[1]
        self.versions = versions
        self.read_versions = read_versions
        self.headroom = headroom
        self.writes = writes
        self.read = read
        for array in (versions, read_versions, headroom, writes):
            _check_length(len(array), self.start.shape[0])
        self.arrays = (matrix, start, length, cards, versions, read_versions, headroom, writes)
        self.peaks = np.zeros((self.start.shape[0], _PEAKS))
        self.peaks_at = np.full(self.start.shape[0], -1, np.int64)
        if matrix.shape[0] <= _MEMORY:
            raise ValueError(f"{matrix.shape[0]} columns")

    cdef const double* peaks_of(self, Py_ssize_t slot) noexcept nogil:
        """The most that any one node of a site has free: pods, cpu, memory, and cards.

        Of cards the most that a node has free on its k-th freest card, for each k. What is in
        flight does not count, so it stays as it is until the site's nodes are written again.
        """
        cdef double* peaks = &self.peaks[slot, 0]
        if self.peaks_at[slot] != self.writes[slot]:
            self._find_peaks(slot, peaks)
            self.peaks_at[slot] = self.writes[slot]
        return peaks

    cdef void _find_peaks(self, Py_ssize_t slot, double* peaks) noexcept nogil:
        cdef double[_MAX_PEAK_CARDS] freest
        cdef const double* profiles = self.data + _PROFILE * self.width
        cdef Py_ssize_t begin = self.start[slot]
        cdef Py_ssize_t row
        cdef Py_ssize_t card
        cdef double free
        cdef double more
        cdef int index
        for index in range(_PEAKS):
            peaks[index] = 0.0
        for row in range(begin, begin + self.length[slot]):
            if profiles[row] == _IN_FLIGHT:
                break  # what follows is in flight
            for index in range(_AMOUNTS):
                peaks[index] = max(peaks[index], self.data[(_PODS + index) * self.width + row])
            if self.data[_CARDS * self.width + row] <= 0.0:
                continue
            for index in range(_MAX_PEAK_CARDS):
                freest[index] = 0.0
            for card in range(self.cards.shape[0]):
                free = self.data[self.cards[card, 0] * self.width + row]
                for index in range(_MAX_PEAK_CARDS):
                    if free <= 0.0:
                        break
                    if free > freest[index]:
                        more = freest[index]
                        freest[index] = free
                        free = more
            for index in range(_MAX_PEAK_CARDS):
                if freest[index] == 0.0:
                    break
                peaks[_AMOUNTS + index] = max(peaks[_AMOUNTS + index], freest[index])

    cdef int is_searchable(self, Py_ssize_t slot) except -1:
        """Whether what is in flight at a site can be searched here."""
        if self.read_versions[slot] != self.versions[slot]:
            self.read(slot)
        return self.headroom[slot] == self.headroom[slot]

    cdef bint is_single_card(self, Py_ssize_t column) noexcept nogil:
        cdef Py_ssize_t card
        for card in range(self.cards.shape[0]):
            if self.cards[card, 0] == column:
                return True
        return False

    cdef Py_ssize_t first_in_flight(self, Py_ssize_t slot) noexcept nogil:
        """The first row in flight of a site; they are its last rows."""
        cdef Py_ssize_t row = self.start[slot] + self.length[slot]
        while row > self.start[slot] and self.data[_PROFILE * self.width + row - 1] == _IN_FLIGHT:
            row -= 1
        return row

    cdef double bindable(self, Py_ssize_t slot, Py_ssize_t column, Py_ssize_t row) noexcept nogil:
        """What the cluster's scheduler sees free, as `_bindable` in `in_flight_fit.py`."""
        cdef double free = self.data[column * self.width + row]
        cdef double headroom = self.headroom[slot]
        if headroom == 0.0 or (column != _CPU and column != _MEMORY):
            return free
        return (free + 1.0) / (1.0 - headroom) if headroom < 1.0 else INFINITY


cdef struct Taker:
    Py_ssize_t row  # nodes that take a replica
    double cap  # how many replicas one takes
    double count  # how many such nodes there are
    double first  # what the first replica that one loses takes of the budget of `_bound_by_amounts`


cdef struct Kind:
    double count  # how many equal pods in flight
    double card_loss  # the replicas that one may cost by its shares of GPU cards
    bint anywhere  # whether one counts on every node
    double asked[_MAX_ASKED]  # by the columns of `Flights`
    double of_shape[_MAX_COLUMNS]  # what one asks of each resource that a replica asks for


cdef struct Flights:
    int columns_count
    int64_t columns[_MAX_ASKED]
    int count
    Kind kinds[_MAX_KINDS]
    bint is_any_card  # whether any may cost replicas by its shares of GPU cards


cdef struct Scan:
    Py_ssize_t takers  # how many rows of nodes take a replica
    double quick  # replicas if each pod in flight costs the most that it can cost
    double total  # replicas without what is in flight
    double nodes  # how many nodes take a replica
    double largest  # the most that one takes
    double states  # combinations of pods in flight
    double pods  # how many are in flight
    double by_pods  # the bound by pods
    double budget  # of `_bound_by_amounts`
    bint is_any_card  # whether pods in flight may cost replicas by their shares of GPU cards


cdef struct Known:
    Py_ssize_t slot  # -1: none
    int64_t version  # of its rows
    int64_t replicas


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


cdef void _sort_takers(
    Taker* found, Py_ssize_t count, int (*compare)(const void*, const void*) noexcept nogil
) noexcept nogil:
    """Sorts takers; equal ones stay in their order. Most sites have few, and `qsort` allocates."""
    cdef Py_ssize_t index
    cdef Py_ssize_t at
    cdef Taker moved
    if count > _BLOCK:
        qsort(found, count, sizeof(Taker), compare)
        return
    for index in range(1, count):
        if compare(&found[index - 1], &found[index]) <= 0:
            continue
        moved = found[index]
        at = index
        while at > 0 and compare(&found[at - 1], &moved) > 0:
            found[at] = found[at - 1]
            at -= 1
        found[at] = moved


cdef struct Place:
    Py_ssize_t index
    int64_t domain  # the value of the label; below _FIRST_DOMAIN: no such label
    double cap  # how many replicas one node takes when nothing limits the spread
    double count  # how many such nodes there are
    double excess  # of `_in_domains`: what it takes beyond its limit
    bint is_host  # whether it counts for the limit by node
    bint is_in_zone  # whether it counts for the limit by the label


cdef int _smaller_domain_first(const void* one, const void* other) noexcept nogil:
    cdef const Place* left = <const Place*>one
    cdef const Place* right = <const Place*>other
    if left.domain != right.domain:
        return -1 if left.domain < right.domain else 1
    return (left.index > right.index) - (left.index < right.index)


cdef int _smaller_place_first(const void* one, const void* other) noexcept nogil:
    cdef const Place* left = <const Place*>one
    cdef const Place* right = <const Place*>other
    if left.cap != right.cap:
        return -1 if left.cap < right.cap else 1
    return (left.count > right.count) - (left.count < right.count)


cdef int _smaller_excess_first(const void* one, const void* other) noexcept nogil:
    cdef const Place* left = <const Place*>one
    cdef const Place* right = <const Place*>other
    if left.excess != right.excess:
        return -1 if left.excess < right.excess else 1
    return (left.index > right.index) - (left.index < right.index)


cdef class Topology:
    """The limits of a spread inside a site: one per label, or `maxSkew` by label, by node, or both.

    Args:
        domains: the number of each profile's value of the label; below 2: it has no such label;
            [profiles]; None: no limit by label.
        one_per_domain: whether a domain takes one replica.
        zone_skew: `maxSkew` by label; 0: no such limit.
        zone_least: its `minDomains`.
        in_zone: 1 for profiles that count for it; [profiles].
        host_skew: `maxSkew` by node; 0: no such limit.
        host_least: its `minDomains`.
        is_host: 1 for profiles that count for it; [profiles].
        lost_at: what pods in flight at a slot may cost at most, where it cannot be searched here.
    """

    cdef const int32_t[::1] domains
    cdef bint has_domains
    cdef bint one_per_domain
    cdef double zone_skew
    cdef double zone_least
    cdef const uint8_t[::1] in_zone
    cdef double host_skew
    cdef double host_least
    cdef const uint8_t[::1] is_host
    cdef object lost_at

    def __init__(
        self, domains, bint one_per_domain, double zone_skew, double zone_least, in_zone,
        double host_skew, double host_least, is_host, lost_at
    ):
        self.has_domains = domains is not None
        if self.has_domains:
            self.domains = domains
        self.one_per_domain = one_per_domain
        self.zone_skew, self.zone_least, self.in_zone = zone_skew, zone_least, in_zone
        self.host_skew, self.host_least, self.is_host = host_skew, host_least, is_host
        self.lost_at = lost_at


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
        worst_case: what a slot takes in the worst case of what is in flight, and whether that is
            exact, see `in_flight_fit.py`; asked where it cannot be searched here.
        wanted: how many replicas are asked; the worst case counts where the quick answer is less.
        topology: the limits of a spread inside a site; None: no limits.

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
    cdef Known[_MAX_KNOWN] known
    cdef Taker* found  # of the site that was looked at last
    cdef Py_ssize_t found_size
    cdef Topology topology
    cdef Place* places  # of the site that was looked at last
    cdef Place* domains  # likewise
    cdef Py_ssize_t places_size

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
        Topology topology = None,
    ):
        cdef int index = 0
        self.topology = topology
        self.worst_case = worst_case
        self.wanted = wanted
        for index in range(_MAX_KNOWN):
            self.known[index].slot = -1
        index = 0
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

    def __dealloc__(self):
        PyMem_Free(self.found)
        PyMem_Free(self.places)

    cdef bint is_too_small(self, Py_ssize_t slot) noexcept nogil:
        """Whether no node of a site has what a replica asks for, of one resource or of cards.

        Then the site takes none. Most sites that take none are found so, without their rows.
        """
        cdef const double* peaks = self.rows.peaks_of(slot)
        cdef int index
        if 0 < self.gpu_cards <= _MAX_PEAK_CARDS:
            if peaks[_AMOUNTS + self.gpu_cards - 1] < self.gpu_milli:
                return True
        for index in range(self.count):
            if _PODS <= self.columns[index] <= _MEMORY:
                if peaks[self.columns[index] - _PODS] / self.asked[index] < 1.0:
                    return True
        return False

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
            if share >= self.gpu_milli:
                # A division takes long, and most cards have at most one share to give.
                pods += 1.0 if share < 2.0 * self.gpu_milli else _floor(share / self.gpu_milli)
                if pods >= fits and free > 0.0 and self.gpu_cards == 1:
                    return fits
            elif share < 0.0:  # from 0 on the quotient's floor is 0
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
        """How many more replicas a site takes, whatever what is in flight there does."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef double total = 0.0
        if self.is_too_small(slot):
            return 0
        if self.gpu_cards and not self._has_cards(begin, end):
            return 0
        if self.topology is not None:
            return self._replicas_within_spread(slot)
        if begin < end and self.rows.data[_PROFILE * self.rows.width + end - 1] == _IN_FLIGHT:
            return self._replicas_beside_in_flight(slot)
        while begin < end:
            total += self._replicas_of_rows(slot, begin, min(end - begin, _BLOCK))
            begin += _BLOCK
        return <int64_t>min(max(total, 0.0), _UNLIMITED)

    cdef int64_t _replicas_beside_in_flight(self, Py_ssize_t slot) except -1:
        """What a site takes beside what is in flight, as in `in_flight_fit.py`.

        A decision asks it of a site more than once: to fill it, and to say why it is full.
        """
        cdef Known* known = &self.known[slot % _MAX_KNOWN]
        cdef Scan scan
        cdef bint is_exact = False
        if known.slot == slot and known.version == self.rows.versions[slot]:
            return known.replicas
        self._scan(slot, &scan)
        known.slot = -1
        if max(scan.quick, 0.0) < self.wanted:
            if self._is_proven_full(slot, &scan):
                known.replicas = 0
            else:
                known.replicas = self._worst_case(slot, &scan, &is_exact)
        else:
            known.replicas = <int64_t>min(max(scan.quick, 0.0), _UNLIMITED)
        known.version = self.rows.versions[slot]
        known.slot = slot
        return known.replicas

    cdef int64_t _replicas_within_spread(self, Py_ssize_t slot) except -1:
        """What a site takes within the topology limits, as in `topology_spread.py`."""
        cdef Known* known = &self.known[slot % _MAX_KNOWN]
        cdef Py_ssize_t count
        cdef double lost
        cdef double total
        if known.slot == slot and known.version == self.rows.versions[slot]:
            return known.replicas
        known.slot = -1
        known.replicas = 0
        count = self._collect_places(slot)
        if count:
            lost = self._lost_to_in_flight(slot)
            total = self._within_topology(count, lost)
            known.replicas = <int64_t>min(max(total, 0.0), _UNLIMITED)
        known.version = self.rows.versions[slot]
        known.slot = slot
        return known.replicas

    cdef Py_ssize_t _collect_places(self, Py_ssize_t slot) except -1:
        """Writes the nodes of a site to `places`, and returns how many; 0 if none takes any."""
        cdef double[_BLOCK] shares
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef Py_ssize_t row
        cdef Py_ssize_t made = 0
        cdef int64_t profile
        cdef double cap
        cdef bint is_any = False
        cdef Place* place
        cdef Topology topology = self.topology
        if self.places_size < end - begin:
            PyMem_Free(self.places)
            self.places_size = 0
            # One more: `_in_domains` divides one.
            self.places = <Place*>PyMem_Malloc((2 * (end - begin) + 1) * sizeof(Place))
            if self.places == NULL:
                raise MemoryError
            self.places_size = end - begin
            self.domains = self.places + self.places_size
        while begin < end:
            self._shares_of_rows(begin, min(end - begin, _BLOCK), shares)
            for row in range(begin, min(end, begin + _BLOCK)):
                profile = <int64_t>profiles[row]
                if profile == _IN_FLIGHT:
                    continue
                cap = 0.0
                if shares[row - begin] >= 1.0 and self._is_usable(slot, profile):
                    cap = _floor(shares[row - begin])
                    if self.gpu_cards:
                        cap = self._with_cards(row, cap)
                    if self.one_per_node:
                        cap = min(cap, 1.0)
                place = &self.places[made]
                place.index = made
                place.cap = cap
                place.count = counts[row]
                place.domain = topology.domains[profile] if topology.has_domains else 0
                place.is_host = topology.host_skew > 0.0 and topology.is_host[profile]
                place.is_in_zone = topology.zone_skew > 0.0 and topology.in_zone[profile]
                is_any = is_any or cap > 0.0
                made += 1
            begin += _BLOCK
        return made if is_any else 0

    cdef double _lost_to_in_flight(self, Py_ssize_t slot) except? -1.0:
        """The most replicas that what is in flight at a site may cost."""
        cdef Py_ssize_t end = self.rows.start[slot] + self.rows.length[slot]
        cdef Scan scan
        cdef double lost = 0.0
        cdef int kind = _IS_UNKNOWN
        if self.rows.data[_PROFILE * self.rows.width + end - 1] != _IN_FLIGHT:
            return 0.0
        self._scan(slot, &scan)
        if not scan.takers:
            return 0.0
        if scan.states > _MAX_STATES:
            return self._bound(self.found, &scan)
        if self.rows.is_searchable(slot):
            kind = self._most_lost(slot, &scan, &lost)
        if kind == _IS_UNKNOWN:
            return self.topology.lost_at(slot)
        return lost

    cdef double _within_topology(self, Py_ssize_t count, double lost) noexcept nogil:
        cdef Py_ssize_t found
        if self.topology.one_per_domain:
            return self._one_per_domain(count) - lost
        if self.topology.zone_skew > 0.0 and self.topology.host_skew > 0.0:
            if lost != 0.0:
                return self._spread_lower_bound(count) - lost
            return self._zones_and_hosts(count)
        if self.topology.zone_skew > 0.0:
            found = self._zones_of(count)
            return self._in_domains(found, self.topology.zone_skew, self.topology.zone_least, lost)
        found = self._hosts_of(count)
        return self._in_domains(found, self.topology.host_skew, self.topology.host_least, lost)

    cdef double _one_per_domain(self, Py_ssize_t count) noexcept nogil:
        """One replica in each domain that takes any; nodes without the label are not limited."""
        cdef Py_ssize_t index
        cdef double total = 0.0
        cdef int64_t last = -1
        qsort(self.places, count, sizeof(Place), _smaller_domain_first)
        for index in range(count):
            if self.places[index].domain < _FIRST_DOMAIN:
                total += self.places[index].cap * self.places[index].count
            elif self.places[index].cap > 0.0 and self.places[index].count > 0.0:
                if self.places[index].domain != last:
                    total += 1.0
                last = self.places[index].domain
        return total

    cdef Py_ssize_t _zones_of(self, Py_ssize_t count) noexcept nogil:
        """Writes what each value of the label takes to `domains`; returns how many there are."""
        cdef Py_ssize_t index
        cdef Py_ssize_t found = 0
        cdef Place* place
        qsort(self.places, count, sizeof(Place), _smaller_domain_first)
        for index in range(count):
            place = &self.places[index]
            if place.count <= 0.0 or not place.is_in_zone:
                continue
            if not found or self.domains[found - 1].domain != place.domain:
                self.domains[found].domain = place.domain
                self.domains[found].cap = 0.0
                self.domains[found].count = 1.0
                found += 1
            self.domains[found - 1].cap += place.cap * place.count
        return found

    cdef Py_ssize_t _hosts_of(self, Py_ssize_t count) noexcept nogil:
        """Writes the nodes that count to `domains`; returns how many rows there are."""
        cdef Py_ssize_t index
        cdef Py_ssize_t found = 0
        for index in range(count):
            if self.places[index].count > 0.0 and self.places[index].is_host:
                self.domains[found] = self.places[index]
                found += 1
        return found

    cdef double _in_domains(
        self, Py_ssize_t found, double max_skew, double least, double lost
    ) noexcept nogil:
        """`_replicas_in_domains` without own replicas; changes `domains`."""
        cdef Place* domains = self.domains
        cdef Py_ssize_t index
        cdef double number = 0.0
        cdef double total = 0.0
        cdef double limit
        cdef double taken
        cdef double whole
        cdef bint is_enough
        if not found:
            return 0.0
        for index in range(found):
            number += domains[index].count
        is_enough = number >= least
        qsort(domains, found, sizeof(Place), _smaller_place_first)
        if is_enough and lost > 0.0:
            taken = min(domains[0].cap, lost)
            for index in range(found, 0, -1):
                domains[index] = domains[index - 1]
            domains[1].count -= 1.0
            domains[0].cap -= taken
            domains[0].count = 1.0
            lost -= taken
            found += 1
        limit = (domains[0].cap if is_enough else 0.0) + max_skew
        for index in range(found):
            total += min(domains[index].cap, limit) * domains[index].count
            domains[index].index = index
            domains[index].excess = max(0.0, domains[index].cap - limit)
        if lost <= 0.0:
            return total
        qsort(domains, found, sizeof(Place), _smaller_excess_first)
        for index in range(found):
            if lost <= 0.0:
                break
            if domains[index].cap <= 0.0:
                continue
            whole = min(domains[index].count, floor(lost / domains[index].cap))
            total -= whole * min(domains[index].cap, limit)
            lost -= whole * domains[index].cap
            if whole < domains[index].count:
                total -= max(0.0, lost - domains[index].excess)
                lost = 0.0
        return total

    cdef double _spread_lower_bound(self, Py_ssize_t count) noexcept nogil:
        """`_lower_bound` for a limit by label and one by node, in the order of the rows."""
        cdef Py_ssize_t index
        cdef double total = 0.0
        cdef double taken
        cdef double left = 0.0
        cdef int64_t last = -1
        cdef Place* place
        # Sorted by domain, and in one by row: a domain's limit does not depend on the others.
        qsort(self.places, count, sizeof(Place), _smaller_domain_first)
        for index in range(count):
            place = &self.places[index]
            if not (place.is_host and place.is_in_zone):
                continue
            if place.domain != last:
                left = self.topology.zone_skew
                last = place.domain
            taken = min(min(place.cap, self.topology.host_skew) * place.count, left)
            left -= taken
            total += taken
        return total

    cdef double _zones_and_hosts(self, Py_ssize_t count) noexcept nogil:
        """`_fill_zones_and_hosts`: what zones and nodes take if both are filled evenly."""
        cdef Place* domains = self.domains
        cdef Place* place
        cdef Py_ssize_t index
        cdef Py_ssize_t used = 0
        cdef Py_ssize_t found = -1
        cdef double hosts = 0.0
        cdef double zones = 0.0
        cdef double level = 0.0  # what the emptiest node has at least; it only rises
        cdef double limit
        cdef double least
        cdef double lowest
        cdef double total
        qsort(self.places, count, sizeof(Place), _smaller_domain_first)
        # Of a domain: `index` its number, `cap` the least node that counts, `count` how many
        # nodes count, `excess` what it takes at most at this level.
        for index in range(count):
            place = &self.places[index]
            if place.count <= 0.0 or not (place.is_host or place.is_in_zone):
                continue
            if found < 0 or domains[found].domain != place.domain:
                found += 1
                domains[found].domain = place.domain
                domains[found].is_in_zone = False
                domains[found].cap = INFINITY
                domains[found].count = 0.0
            if place.is_host:
                domains[found].cap = min(domains[found].cap, place.cap)
                domains[found].count += place.count
                hosts += place.count
            if place.is_in_zone and not domains[found].is_in_zone:
                domains[found].is_in_zone = True
                zones += 1.0
            place.index = found
            self.places[used] = place[0]
            used += 1
        if not zones or not hosts:
            return 0.0
        while True:
            for index in range(found + 1):
                domains[index].excess = 0.0
            for index in range(used):
                place = &self.places[index]
                domains[place.index].excess += min(place.cap, level + self.topology.host_skew) * place.count
            least = INFINITY
            for index in range(found + 1):
                if domains[index].is_in_zone:
                    least = min(least, domains[index].excess)
            limit = (least if zones >= self.topology.zone_least else 0.0) + self.topology.zone_skew
            total = 0.0
            lowest = INFINITY
            for index in range(found + 1):
                least = min(limit, domains[index].excess)
                total += least
                if domains[index].count > 0.0:
                    lowest = min(lowest, min(domains[index].cap, floor(least / domains[index].count)))
            if hosts < self.topology.host_least or lowest <= level:
                return total
            level = lowest

    cdef int is_surely_full(self, Py_ssize_t slot) except -1:
        """Whether it is proven that a site takes nothing in the worst case."""
        cdef Scan scan
        cdef bint is_exact = False
        self._scan(slot, &scan)
        if self._is_proven_full(slot, &scan):
            return True
        return self._worst_case(slot, &scan, &is_exact) == 0 and is_exact

    cdef int _is_proven_full(self, Py_ssize_t slot, const Scan* scan) except -1:
        """Whether a quick proof shows that what is in flight may leave no place at a site.

        No bound is below what may be lost, so `_worst_case` is 0 there for this shape and for all
        larger ones, also where it is no search.
        """
        if not scan.takers:
            return True
        return self.rows.is_searchable(slot) and self._may_lose_all(slot, self.found, scan.takers)

    cdef int _is_exact(self, Py_ssize_t slot) except -1:
        """Whether the worst case of a site is exact."""
        cdef Scan scan
        cdef bint is_exact = False
        self._scan(slot, &scan)
        if not scan.takers or self._is_within_steps(&scan):
            return True
        if scan.states > _MAX_STATES:
            return False
        self._worst_case(slot, &scan, &is_exact)
        return is_exact

    cdef int64_t _worst_case(self, Py_ssize_t slot, const Scan* scan, bint* is_exact) except -1:
        """What a site takes in the worst case, and whether one more does not fit in some case."""
        cdef double lost = 0.0
        cdef int kind = _IS_UNKNOWN
        is_exact[0] = True
        if not scan.takers:
            return 0
        if scan.states > _MAX_STATES:
            kind = _IS_BOUND
            lost = self._bound(self.found, scan)
        elif self.rows.is_searchable(slot):
            kind = self._most_lost(slot, scan, &lost)
        if kind == _IS_UNKNOWN:
            replicas, is_exact_there = self.worst_case(slot)
            is_exact[0] = is_exact_there
            return replicas
        is_exact[0] = kind == _IS_EXACT
        return <int64_t>min(max(scan.total - lost, 0.0), _UNLIMITED)

    cdef int _scan(self, Py_ssize_t slot, Scan* scan) except -1:
        """Looks at all rows of a site once; the rows that take a replica are in `found` then."""
        cdef double[_BLOCK] shares
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef Py_ssize_t end = begin + self.rows.length[slot]
        cdef Py_ssize_t row
        cdef Taker* taker
        if self.found_size < end - begin:
            PyMem_Free(self.found)
            self.found_size = 0
            self.found = <Taker*>PyMem_Malloc((end - begin) * sizeof(Taker))
            if self.found == NULL:
                raise MemoryError
            self.found_size = end - begin
        scan.takers = 0
        scan.quick = scan.total = scan.nodes = scan.largest = scan.pods = scan.by_pods = scan.budget = 0.0
        scan.states = 1.0
        scan.is_any_card = False
        if self.is_too_small(slot):
            return 0
        while begin < end:
            self._shares_of_rows(begin, min(end - begin, _BLOCK), shares)
            for row in range(begin, min(end, begin + _BLOCK)):
                if profiles[row] == _IN_FLIGHT:
                    if not scan.takers:  # what follows is in flight, and has nothing to take
                        return 0
                    self._scan_in_flight(row, shares[row - begin], counts[row], scan)
                elif shares[row - begin] >= 1.0 and self._is_usable(slot, <int64_t>profiles[row]):
                    taker = &self.found[scan.takers]
                    taker.row = row
                    taker.count = counts[row]
                    taker.cap = _floor(shares[row - begin])
                    if self.gpu_cards:
                        taker.cap = self._with_cards(row, taker.cap)
                    if self.one_per_node:
                        taker.cap = min(taker.cap, 1.0)
                    if taker.cap < 1.0 or taker.count < 1.0:
                        continue
                    scan.quick += taker.cap * taker.count
                    taker.cap = min(taker.cap, _UNLIMITED)
                    scan.total += taker.cap * taker.count
                    scan.nodes += taker.count
                    scan.largest = max(scan.largest, taker.cap)
                    scan.takers += 1
            begin += _BLOCK
        return 0

    cdef void _scan_in_flight(self, Py_ssize_t row, double fits, double count, Scan* scan) noexcept nogil:
        """Adds a row in flight, which follows all nodes of its site."""
        cdef double share = -fits if self.count else 0.0
        cdef double card_loss = -self._with_cards(row, 0.0) if self.gpu_cards else 0.0
        scan.states *= count + 1.0
        scan.pods += count
        scan.by_pods += count * min(max(ceil(share), card_loss), scan.largest)
        scan.budget += count * max(share, card_loss)
        scan.is_any_card = scan.is_any_card or card_loss > 0.0
        share = max(ceil(share), card_loss)
        scan.quick -= count * (min(share, 1.0) if self.one_per_node else share)

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
                if not self.rows.is_single_card(column):
                    return False
        return True

    cdef bint _is_within_steps(self, const Scan* scan) noexcept nogil:
        """Whether a search surely ends within its limits, and so is exact."""
        cdef double copies = 0.0
        cdef Py_ssize_t taker
        if scan.states > _MAX_STATES or scan.is_any_card:  # which cards are taken is not searched
            return False
        for taker in range(scan.takers):
            copies += min(self.found[taker].count, scan.pods)
        return (scan.states - 1.0) * copies <= _MAX_STEPS

    cdef int _most_lost(self, Py_ssize_t slot, const Scan* scan, double* lost) noexcept nogil:
        """The most replicas that pods in flight may cost, as `worst_loss`; may reorder `found`.

        Returns:
            Whether that is exact, a bound, or must be computed by `in_flight_loss.py`.
        """
        cdef Flights flights
        lost[0] = 0.0
        if not self._collect_flights(slot, self.found, scan.takers, &flights):
            return _IS_UNKNOWN
        if not flights.count:
            return _IS_EXACT
        if not self._search(slot, self.found, scan.takers, &flights, lost):
            lost[0] = self._bound(self.found, scan)
            return _IS_BOUND
        if flights.is_any_card:
            lost[0] = min(lost[0], self._bound(self.found, scan))
            return _IS_BOUND
        return _IS_EXACT

    cdef bint _collect_flights(
        self, Py_ssize_t slot, const Taker* found, Py_ssize_t takers, Flights* flights
    ) noexcept nogil:
        """Writes the pods in flight that may cost a replica, equal ones together.

        Returns:
            Whether there is space for them.
        """
        cdef const double* data = self.rows.data
        cdef Py_ssize_t width = self.rows.width
        cdef Py_ssize_t first = self.rows.first_in_flight(slot)
        cdef Py_ssize_t end = self.rows.start[slot] + self.rows.length[slot]
        cdef Py_ssize_t row
        cdef Py_ssize_t column
        cdef int index
        cdef bint is_costly
        cdef Kind* kind
        flights.count = 0
        flights.columns_count = 0
        flights.is_any_card = False
        for column in range(_CARDS, self.rows.matrix.shape[0]):
            for row in range(first, end):
                if data[column * width + row] < 0.0 and not self.rows.is_single_card(column):
                    if flights.columns_count == _MAX_ASKED:
                        return False
                    flights.columns[flights.columns_count] = column
                    flights.columns_count += 1
                    break
        for row in range(first, end):
            if flights.count == _MAX_KINDS:
                return False
            kind = &flights.kinds[flights.count]
            kind.card_loss = max(0.0, -self._with_cards(row, 0.0)) if self.gpu_cards else 0.0
            is_costly = kind.card_loss > 0.0
            for index in range(self.count):
                kind.of_shape[index] = -data[self.columns[index] * width + row]
                is_costly = is_costly or kind.of_shape[index] > 0.0
            if not is_costly:
                continue
            for index in range(flights.columns_count):
                kind.asked[index] = -data[flights.columns[index] * width + row]
            kind.anywhere = not self._fits_some_node(slot, first, flights, kind)
            kind.count = self._bindable_count(slot, found, takers, flights, kind, data[_COUNT * width + row])
            if kind.count > 0.0:
                flights.is_any_card = flights.is_any_card or kind.card_loss > 0.0
                self._merge_last(flights)
        return True

    cdef void _merge_last(self, Flights* flights) noexcept nogil:
        """Adds the kind behind the last one, to an equal one where there is one."""
        cdef Kind* last = &flights.kinds[flights.count]
        cdef Kind* kind
        cdef int number
        cdef int index
        cdef bint is_equal
        for number in range(flights.count):
            kind = &flights.kinds[number]
            is_equal = kind.anywhere == last.anywhere and kind.card_loss == last.card_loss
            for index in range(flights.columns_count):
                is_equal = is_equal and kind.asked[index] == last.asked[index]
            if is_equal:
                kind.count += last.count
                return
        flights.count += 1

    cdef bint _fits_some_node(
        self, Py_ssize_t slot, Py_ssize_t first, const Flights* flights, const Kind* kind
    ) noexcept nogil:
        """Whether a pod in flight fits on some node of its site now, suitable or not."""
        cdef Py_ssize_t row
        cdef int index
        for row in range(self.rows.start[slot], first):
            for index in range(flights.columns_count):
                if kind.asked[index] > 0.0 and self.rows.bindable(slot, flights.columns[index], row) < kind.asked[index]:
                    break
            else:
                return True
        return False

    cdef double _bindable_count(
        self,
        Py_ssize_t slot,
        const Taker* found,
        Py_ssize_t takers,
        const Flights* flights,
        const Kind* kind,
        double count,
    ) noexcept nogil:
        """How many of `count` equal pods in flight the takers can take at most."""
        cdef double most = 0.0
        cdef double share
        cdef Py_ssize_t taker
        cdef int index
        cdef bint is_any_asked = False
        if kind.anywhere:
            return count
        for taker in range(takers):
            share = INFINITY
            for index in range(flights.columns_count):
                if kind.asked[index] > 0.0:
                    is_any_asked = True
                    share = min(
                        share, self.rows.bindable(slot, flights.columns[index], found[taker].row) / kind.asked[index]
                    )
            if not is_any_asked:
                return count
            most += found[taker].count * max(0.0, _floor(share))
            if most >= count:
                return count
        return most

    cdef bint _search(
        self, Py_ssize_t slot, const Taker* found, Py_ssize_t takers, const Flights* flights, double* lost
    ) noexcept nogil:
        """The most replicas that any assignment costs, as `_search` in `in_flight_loss.py`.

        Returns:
            Whether the search ended within `_MAX_STEPS`.
        """
        cdef double[_MAX_STATES] most
        cdef double[_MAX_STATES] losses
        cdef double[_MAX_STATES] by_cards
        cdef double[_MAX_STATES][_MAX_COLUMNS] loads
        cdef double[_MAX_STATES][_MAX_ASKED] binding
        cdef double[_MAX_ASKED] free  # of one node, as the cluster's scheduler sees it
        cdef int[_MAX_STATES][_MAX_KINDS] numbers
        cdef int[_MAX_KINDS] strides
        cdef int[_MAX_STATES] useful
        cdef int states = 1
        cdef int useful_count
        cdef int state
        cdef int taken
        cdef int number
        cdef int index
        cdef int some
        cdef double pods = 0.0
        cdef double steps = 0.0
        cdef double copies
        cdef double before
        cdef double less
        cdef const Kind* kind
        cdef Py_ssize_t taker
        cdef bint is_within
        for number in range(flights.count - 1, -1, -1):
            strides[number] = states
            states *= <int>flights.kinds[number].count + 1
            pods += flights.kinds[number].count
        for state in range(states):
            most[state] = 0.0
            by_cards[state] = 0.0
            for index in range(self.count):
                loads[state][index] = 0.0
            for index in range(flights.columns_count):
                binding[state][index] = 0.0
            for number in range(flights.count):
                kind = &flights.kinds[number]
                some = state // strides[number] % (<int>kind.count + 1)
                numbers[state][number] = some
                by_cards[state] += some * kind.card_loss
                for index in range(self.count):
                    loads[state][index] += some * kind.of_shape[index]
                if not kind.anywhere:
                    for index in range(flights.columns_count):
                        binding[state][index] += some * kind.asked[index]
        for taker in range(takers):
            useful_count = 0
            losses[0] = 0.0
            for index in range(flights.columns_count):
                free[index] = self.rows.bindable(slot, flights.columns[index], found[taker].row) + _ROUNDING
            for state in range(1, states):
                # With one pod less: if these do not fit, more do not; if these cost all, more
                # cost no more. Neither is useful, nor is any larger combination.
                before = 0.0
                for number in range(flights.count):
                    if numbers[state][number]:
                        less = losses[state - strides[number]]
                        if less < 0.0 or less >= found[taker].cap:
                            before = -1.0
                            break
                        before = max(before, less)
                if before < 0.0:
                    losses[state] = -1.0
                    continue
                losses[state] = self._loss_on_node(
                    &found[taker], flights, loads[state], binding[state], free, by_cards[state]
                )
                if losses[state] > before:
                    useful[useful_count] = state
                    useful_count += 1
            copies = min(found[taker].count, pods)
            steps += copies * useful_count
            if steps > _MAX_STEPS:
                return False
            while copies > 0.0 and useful_count:
                copies -= 1.0
                for state in range(states - 1, 0, -1):  # what is read has not been written yet
                    before = most[state]
                    for index in range(useful_count):
                        taken = useful[index]
                        if taken > state:
                            break
                        is_within = True
                        for number in range(flights.count):
                            is_within = is_within and numbers[taken][number] <= numbers[state][number]
                        if is_within:
                            before = max(before, most[state - taken] + losses[taken])
                    most[state] = before
        for state in range(states):
            lost[0] = max(lost[0], most[state])
        return True

    cdef double _loss_on_node(
        self,
        const Taker* taker,
        const Flights* flights,
        const double* load,
        const double* binding,
        const double* free,
        double by_cards,
    ) noexcept nogil:
        """What one node loses to a combination of pods; -1: they do not all fit there."""
        cdef double remains = taker.cap
        cdef double left
        cdef int index
        for index in range(flights.columns_count):
            if binding[index] > free[index] and binding[index] > 0.0:
                return -1.0
        for index in range(self.count):
            left = self.rows.data[self.columns[index] * self.rows.width + taker.row] - load[index]
            if left < remains * self.asked[index]:
                remains = min(remains, _floor(left / self.asked[index]))
        return max(taker.cap - max(remains, 0.0), min(by_cards, taker.cap))

    cdef double _bound(self, Taker* found, const Scan* scan) noexcept nogil:
        """The least of the bounds that `in_flight_loss.py` names; may reorder `found`.

        Where all are plainly at least what the nodes take, which is so at most full sites, that is
        given instead: no more can be lost.
        """
        cdef Py_ssize_t index
        cdef double by_nodes = 0.0
        cdef double by_amounts = 0.0
        cdef double budget = scan.budget
        cdef double touched = 0.0
        cdef double left = scan.pods
        cdef double some
        # Where amounts alone limit what a node takes, its first lost replica takes 1 at most.
        if not (self.one_per_node or self.gpu_cards) and self.count and scan.largest < _UNLIMITED:
            if scan.pods >= scan.nodes and min(scan.by_pods, budget) >= scan.total:
                return scan.total
        _sort_takers(found, scan.takers, _larger_cap_first)
        for index in range(scan.takers):
            some = min(found[index].count, left)
            by_nodes += some * found[index].cap
            left -= some
        if self.count:
            self._write_firsts(found, scan.takers, 1.0 if scan.is_any_card else 1e300)
            _sort_takers(found, scan.takers, _smaller_first_first)
            for index in range(scan.takers):
                if found[index].first > 1.0 and touched > 0.0:
                    break
                some = min(min(found[index].count, scan.pods - touched), floor(budget / found[index].first + _ROUNDING))
                touched += some
                budget = max(0.0, budget - some * found[index].first)
            by_amounts = touched + floor(budget + _ROUNDING)
        else:
            by_amounts = budget
        return min(scan.by_pods, min(by_nodes, by_amounts))

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

    cdef double _replicas_of_rows(self, Py_ssize_t slot, Py_ssize_t begin, Py_ssize_t rows) noexcept nogil:
        """What up to `_BLOCK` rows of nodes of a site take."""
        cdef double[_BLOCK] shares
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width + begin
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width + begin
        cdef Py_ssize_t row
        cdef double fits
        cdef double total = 0.0
        self._shares_of_rows(begin, rows, shares)
        for row in range(rows):
            fits = shares[row]
            if fits < 1.0 or not self._is_usable(slot, <int64_t>profiles[row]):
                continue
            fits = _floor(fits)
            if self.gpu_cards:
                fits = self._with_cards(begin + row, fits)
            if self.one_per_node:
                fits = min(max(fits, -1.0), 1.0)
            total += fits * counts[row]
        return total

    cdef int64_t replicas_by_sums_at_slot(
        self, Py_ssize_t slot, const double[:, ::1] in_flight, bint is_empty
    ) noexcept nogil:
        """What the sums of a site's free capacity would take, as in `summed_capacity.py`.

        Cards come first: most sites have none, and need no further sums. With `is_empty` as if
        nothing were in flight.
        """
        cdef int index
        cdef double left
        cdef double least = _UNLIMITED
        if self.gpu_cards:
            left = self._free_sum(slot, _CARDS, in_flight, is_empty) / (self.gpu_cards * self.gpu_milli)
            if left < 1.0:
                return 0
            least = min(least, left)
        for index in range(self.count):
            left = self._free_sum(slot, self.columns[index], in_flight, is_empty) / self.asked[index]
            if left < 1.0:
                return 0
            least = min(least, left)
        return <int64_t>least

    cdef bint _is_any_in_flight(self, Py_ssize_t slot, const double[:, ::1] in_flight) noexcept nogil:
        """Whether anything in flight at a site asks for a resource of the shape."""
        cdef int index
        if self.gpu_cards and _CARDS < in_flight.shape[0] and in_flight[_CARDS, slot]:
            return True
        for index in range(self.count):
            if self.columns[index] < in_flight.shape[0] and in_flight[self.columns[index], slot]:
                return True
        return False

    cdef double _free_sum(
        self, Py_ssize_t slot, int64_t column, const double[:, ::1] in_flight, bint is_empty
    ) noexcept nogil:
        """The sum of a column over the nodes of a site, less what is in flight unless `is_empty`."""
        cdef Py_ssize_t begin = self.rows.start[slot]
        cdef const double* free = self.rows.data + column * self.rows.width
        cdef const double* profiles = self.rows.data + _PROFILE * self.rows.width
        cdef const double* counts = self.rows.data + _COUNT * self.rows.width
        cdef Py_ssize_t row
        cdef double left = 0.0
        for row in range(begin, begin + self.rows.length[slot]):
            if profiles[row] != _IN_FLIGHT and self._is_usable(slot, <int64_t>profiles[row]):
                left += free[row] * counts[row]
        if is_empty or column >= in_flight.shape[0]:
            return left
        return left - in_flight[column, slot]

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

    def repeated_orders(self, Py_ssize_t slot, int64_t replicas, int64_t most_orders):
        """How many equal orders a site takes one after the other, each in flight for the next.

        Each takes all its replicas here. The last row of the site must be such an order. The
        answer ends, perhaps too early, where what is in flight would have to be searched: the
        search reads rows that do not exist yet.

        Args:
            slot: the site.
            replicas: the pods of one order.
            most_orders: where to end.

        Raises:
            IndexError: there is no such slot.
            ValueError: the last row of the site is not such an order.
            MemoryError: there is no memory for the nodes.
        """
        cdef Py_ssize_t last
        cdef Py_ssize_t size
        cdef double share
        cdef int64_t made = 0
        cdef int64_t room
        cdef Scan scan
        cdef Taker* in_order
        if slot < 0 or slot >= self.rows.start.shape[0]:
            raise IndexError(f"slot {slot} of {self.rows.start.shape[0]}")
        last = self.rows.start[slot] + self.rows.length[slot] - 1
        if (
            not self.rows.length[slot]
            or self.rows.data[_PROFILE * self.rows.width + last] != _IN_FLIGHT
            or self.rows.data[_COUNT * self.rows.width + last] != replicas
        ):
            raise ValueError("the last row is not an order of as many pods")
        if self.topology is not None or (
            self.gpu_cards and not self._has_cards(self.rows.start[slot], last + 1)
        ):
            return 0
        self._scan(slot, &scan)
        self._shares_of_rows(last, 1, &share)
        size = scan.takers * sizeof(Taker)
        in_order = <Taker*>PyMem_Malloc(max(size, 1))
        if in_order == NULL:
            raise MemoryError
        memcpy(in_order, self.found, size)
        while made < most_orders:
            if max(scan.quick, 0.0) >= self.wanted:
                room = <int64_t>min(max(scan.quick, 0.0), _UNLIMITED)
            elif not scan.takers:
                room = 0
            elif scan.states > _MAX_STATES:
                memcpy(self.found, in_order, size)  # the bound sorts them; sums must not differ
                room = <int64_t>min(max(scan.total - self._bound(self.found, &scan), 0.0), _UNLIMITED)
            else:
                break
            if room < replicas:
                break
            made += 1
            self._scan_in_flight(last, share, <double>replicas, &scan)
        PyMem_Free(in_order)
        return made

    def is_exact_at_all(self, const int64_t[::1] slots, Py_ssize_t most):
        """Whether the worst case is exact at each of the first `most` slots with pods in flight.

        Raises:
            IndexError: there is no such slot.
        """
        cdef Py_ssize_t index
        _check_slots(slots, self.rows.start.shape[0])
        for index in range(slots.shape[0]):
            if not most:
                break
            if self.rows.first_in_flight(slots[index]) == self.rows.start[slots[index]] + self.rows.length[slots[index]]:
                continue
            most -= 1
            if not self._is_exact(slots[index]):
                return False
        return True

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
            sums[index] = self.replicas_by_sums_at_slot(slots[index], in_flight, False)
        return found

    def held_by_in_flight(self, const int64_t[::1] slots, const double[:, ::1] in_flight):
        """Which sites would take more by their sums if nothing were in flight there.

        Args:
            slots: the sites.
            in_flight: sums of the requests in flight at all sites; [columns, slot_capacity].

        Returns:
            Their slots, in the order of `slots`, as a list.

        Raises:
            IndexError: there is no such slot.
        """
        cdef Py_ssize_t index
        cdef int64_t without
        found = []
        _check_slots(slots, min(self.rows.start.shape[0], in_flight.shape[1]))
        for index in range(slots.shape[0]):
            if not self._is_any_in_flight(slots[index], in_flight):
                continue
            without = self.replicas_by_sums_at_slot(slots[index], in_flight, True)
            if without and without > self.replicas_by_sums_at_slot(slots[index], in_flight, False):
                found.append(slots[index])
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
        full_at_versions: the version of a site's rows at which it was found full; negative: at
            which it was found not to be; [slot_capacity]; updated.
        versions: the version that a site's rows have now; [slot_capacity].
        make_smallest: makes the fit of the smallest shape of the cell; called when it is needed.

    Raises:
        ValueError: an array does not have the length of the fleet's.
    """

    cdef int64_t[::1] full_at_versions
    cdef const int64_t[::1] versions
    cdef Fit smallest
    cdef object make_smallest

    def __init__(self, int64_t[::1] full_at_versions, const int64_t[::1] versions, make_smallest):
        _check_length(full_at_versions.shape[0], versions.shape[0])
        self.full_at_versions = full_at_versions
        self.versions = versions
        self.make_smallest = make_smallest

    cdef bint is_full(self, Py_ssize_t slot) noexcept nogil:
        """Whether a site is known to take nothing."""
        return self.full_at_versions[slot] == self.versions[slot]

    cdef int mark(self, Py_ssize_t slot) except -1:
        """Records a site as full, if it is full for the whole cell, or that it is not."""
        if self.full_at_versions[slot] != -self.versions[slot]:
            if self.smallest is None:
                self.smallest = self.make_smallest()
                _check_length(self.versions.shape[0], self.smallest.rows.start.shape[0])
            is_full = self.smallest.is_surely_full(slot)
            self.full_at_versions[slot] = self.versions[slot] if is_full else -self.versions[slot]
        return 0


cdef struct Block:
    Py_ssize_t least  # the cheapest candidate of the block
    Py_ssize_t begin  # the first candidate of the block
    Py_ssize_t count  # how many candidates are left there


cdef class Cheapest:
    """Sites that take a replica, cheapest first; their capacity is computed only when needed.

    Iterating gives (slot, how many more replicas it takes), in the order of
    `SiteCosts.sort_cheapest_first`. The sites are kept in blocks, and these in a binary heap by
    their cheapest site: most decisions take a few sites only, and a heap of all takes long to make.

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
    cdef const int64_t[::1] slots
    cdef const uint64_t[::1] name_hashes
    cdef uint64_t salt
    cdef bint is_any_missing
    # Of each candidate: what a replica costs, its position in `slots`, and its missing figures.
    cdef double* cny
    cdef int32_t* index
    cdef int32_t* missing
    cdef Block* blocks
    cdef Py_ssize_t left  # blocks

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
        cdef Py_ssize_t count = slots.shape[0]
        cdef int64_t slot
        cdef const int64_t[::1] missing
        cdef const int64_t[::1] full_at
        cdef const int64_t[::1] versions
        cdef bint is_any_full = full is not None
        cdef Py_ssize_t made = 0
        _check_slots(slots, min(cny.shape[0], name_hashes.shape[0], fit.rows.start.shape[0]))
        if full is not None:
            _check_length(full.versions.shape[0], fit.rows.start.shape[0])
            full_at, versions = full.full_at_versions, full.versions
        self.fit = fit
        self.full = full
        self.slots = slots
        self.name_hashes = name_hashes
        self.salt = salt
        self.is_any_missing = unknown is not None
        # One piece of memory, of which `__dealloc__` frees the first array.
        self.cny = <double*>PyMem_Malloc(max(count, 1) * (sizeof(double) + 2 * sizeof(int32_t)))
        self.blocks = <Block*>PyMem_Malloc((count // _SITES_OF_BLOCK + 1) * sizeof(Block))
        if self.cny == NULL or self.blocks == NULL:
            raise MemoryError
        self.index = <int32_t*>(self.cny + count)
        self.missing = self.index + count
        if self.is_any_missing:
            missing = unknown
            _check_length(missing.shape[0], cny.shape[0])
        for index in range(count):
            slot = slots[index]
            if is_any_full and full_at[slot] == versions[slot]:
                continue
            self.cny[made] = cny[slot]
            self.index[made] = <int32_t>index
            if self.is_any_missing:
                self.missing[made] = <int32_t>missing[slot]
            made += 1
        self.left = 0
        index = 0
        while index < made:
            self.blocks[self.left].begin = index
            self.blocks[self.left].count = min(made - index, _SITES_OF_BLOCK)
            self._find_least(&self.blocks[self.left])
            self.left += 1
            index += _SITES_OF_BLOCK
        for index in range(self.left // 2 - 1, -1, -1):
            self._sink(index)

    def __dealloc__(self):
        PyMem_Free(self.cny)
        PyMem_Free(self.blocks)

    cdef inline bint _before(self, Py_ssize_t one, Py_ssize_t other) noexcept nogil:
        """The order of `SiteCosts.sort_cheapest_first` between two candidates.

        By number of missing figures, cost (NaN last), tie breaker, and position in the input.
        """
        cdef double left = self.cny[one]
        cdef double right = self.cny[other]
        if self.is_any_missing and self.missing[one] != self.missing[other]:
            return self.missing[one] < self.missing[other]
        if left < right:
            return True
        if left > right:
            return False
        return self._breaks_tie(one, other)

    cdef bint _breaks_tie(self, Py_ssize_t one, Py_ssize_t other) noexcept nogil:
        """`_before` for costs of which none is less than the other."""
        cdef uint64_t left
        cdef uint64_t right
        if (self.cny[one] != self.cny[one]) != (self.cny[other] != self.cny[other]):
            return self.cny[other] != self.cny[other]
        left = (self.name_hashes[self.slots[self.index[one]]] ^ self.salt) * _ODD
        right = (self.name_hashes[self.slots[self.index[other]]] ^ self.salt) * _ODD
        return left < right if left != right else self.index[one] < self.index[other]

    cdef void _find_least(self, Block* block) noexcept nogil:
        """Finds the cheapest site that is left in a block."""
        cdef Py_ssize_t least = block.begin
        cdef Py_ssize_t at
        for at in range(block.begin + 1, block.begin + block.count):
            if self._before(at, least):
                least = at
        block.least = least

    cdef void _sink(self, Py_ssize_t index) noexcept nogil:
        """Restores the order of the heap below a place whose block may be too expensive for it."""
        cdef Block moved = self.blocks[index]
        cdef Py_ssize_t child
        while True:
            child = 2 * index + 1
            if child >= self.left:
                break
            if child + 1 < self.left and self._before(
                self.blocks[child + 1].least, self.blocks[child].least
            ):
                child += 1
            if not self._before(self.blocks[child].least, moved.least):
                break
            self.blocks[index] = self.blocks[child]
            index = child
        self.blocks[index] = moved

    cdef int64_t _next(self, int64_t* slot) except -1:
        """Finds the next site that takes a replica, and writes its slot to `slot`.

        Returns:
            How many replicas it takes; 0 when no site is left.
        """
        cdef int64_t most
        while self.left:
            slot[0] = self._pop()
            most = self._capacity_at(slot[0])
            if most:
                return most
        return 0

    cdef int64_t _pop(self) noexcept nogil:
        """Takes the cheapest site out of the heap, and gives its slot; one must be left."""
        cdef Block* block = &self.blocks[0]
        cdef int64_t slot = self.slots[self.index[block.least]]
        cdef Py_ssize_t last
        block.count -= 1
        if block.count:
            # The last candidate takes the place of the one that is given out.
            last = block.begin + block.count
            self.cny[block.least] = self.cny[last]
            self.index[block.least] = self.index[last]
            self.missing[block.least] = self.missing[last]
            self._find_least(block)
        else:
            self.left -= 1
            self.blocks[0] = self.blocks[self.left]
        self._sink(0)
        return slot

    cdef int64_t _capacity_at(self, int64_t slot) except -1:
        """How many replicas a site takes, 0 at least; a site that takes none is remembered."""
        cdef int64_t most = self.fit.replicas_at_slot(slot)
        if most > 0:
            return most
        if self.full is not None and not self.fit.is_too_small(slot):
            self.full.mark(slot)  # what is too small is found as fast again
        return 0

    def cheapest_by_group(self, const int64_t[::1] groups, int64_t missing):
        """The cheapest sites of each group that hold what is missing, and the next one of each.

        No other site is in the cheapest division over groups, nor in the second cheapest.

        Args:
            groups: the number of every site's group, 0: none; [slot_capacity].
            missing: how many replicas to place.

        Returns:
            Their slots, cheapest first, and how many replicas each takes, `missing` at most.

        Raises:
            IndexError: `groups` is too short.
            ValueError: a number is negative.
        """
        cdef Py_ssize_t index
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t open_groups = 0
        cdef int64_t group
        cdef int64_t last_group = 0
        cdef int64_t slot
        cdef int64_t most
        _check_slots(self.slots, groups.shape[0])
        for index in range(self.slots.shape[0]):
            group = groups[self.slots[index]]
            if group < 0:
                raise ValueError(f"group {group}")
            last_group = max(last_group, group)
        # What the sites of each group hold that were found; -1: no more are wanted of it.
        held_by_group = np.full(last_group + 1, -1, np.int64)
        cdef int64_t[::1] held = held_by_group
        for index in range(self.slots.shape[0]):
            group = groups[self.slots[index]]
            if group and held[group] < 0:
                held[group] = 0
                open_groups += 1
        found_slots = np.empty(self.slots.shape[0], np.int64)
        found_replicas = np.empty(self.slots.shape[0], np.int64)
        cdef int64_t[::1] slots = found_slots
        cdef int64_t[::1] replicas = found_replicas
        while self.left and open_groups:
            slot = self._pop()
            group = groups[slot]
            if held[group] < 0:
                continue
            most = min(self._capacity_at(slot), missing)
            if not most:
                continue
            slots[count], replicas[count] = slot, most
            count += 1
            if held[group] >= missing:
                held[group] = -1
                open_groups -= 1
            else:
                held[group] += most
        return found_slots[:count], found_replicas[:count]

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
    if not slot_capacity:
        return found
    cdef double[::1] view = found
    cdef double* total = &view[0]
    cdef const double[::1] figures
    cdef const double* figure_at
    cdef double units
    cdef Py_ssize_t slot
    cdef bint is_first = True
    for _, amount, figure in terms:
        units = amount
        figures = figure.value
        _check_length(figures.shape[0], slot_capacity)
        figure_at = &figures[0]
        if is_first:
            for slot in range(slot_capacity):
                total[slot] = figure_at[slot] * units
        else:
            for slot in range(slot_capacity):
                total[slot] += figure_at[slot] * units
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
        passing[count] = slot  # overwritten if it does not pass: a branch is mispredicted too often
        count += rank == _NONE
    return first, slots[:count]


def any_of_rows(
    const uint8_t[::1] holds,
    const double[:, ::1] numbers,
    const int64_t[::1] start,
    const int64_t[::1] length,
    uint8_t of_none,
):
    """Whether any of the numbers that each site has holds; [slot_capacity].

    Args:
        holds: 1 for each number that does; [numbers].
        numbers: the numbers of all sites, in one column; [1, rows].
        start: the first of each site; [slot_capacity].
        length: how many each site has; [slot_capacity].
        of_none: the answer of a site that has none.

    Raises:
        ValueError: the arrays differ in length.
    """
    cdef Py_ssize_t slot
    cdef int64_t row
    _check_length(length.shape[0], start.shape[0])
    found = np.empty(start.shape[0], np.uint8)
    cdef uint8_t[::1] any_holds = found
    for slot in range(start.shape[0]):
        any_holds[slot] = of_none if not length[slot] else 0
        for row in range(start[slot], start[slot] + length[slot]):
            if holds[<Py_ssize_t>numbers[0, row]]:
                any_holds[slot] = 1
                break
    return found


cdef struct Cheapness:
    double best  # of all divisions; INFINITY: there is none
    double second  # of all other divisions


cdef inline void _offer(Cheapness* at, const Cheapness* one, const Cheapness* other, bint* is_better) noexcept nogil:
    """Adds the divisions that are made of one of `one` and one of `other`."""
    cdef double best = one.best + other.best
    is_better[0] = best < at.best
    if is_better[0]:
        at.second = at.best
        at.best = best
    elif best < at.second:
        at.second = best
    at.second = min(at.second, min(one.second + other.best, one.best + other.second))


cdef class NestedGroups:
    """The cheapest division over groups within groups, by a dynamic programme.

    Args:
        caps: how many replicas each candidate takes; [candidates].
        cost: what a replica costs there, ascending; [candidates].
        fine: the finer group of each; [candidates].
        coarse: the coarser group of each, the same for all candidates of a finer one; [candidates].
        fine_left: how many replicas each finer group may get; [finer groups].
        coarse_left: how many each coarser group may get; [coarser groups].
        fine_used: 1 for finer groups that hold replicas already; [finer groups].
        coarse_used: 1 for coarser groups that do; [coarser groups].

    Raises:
        ValueError: arrays differ in length, or a finer group is in two coarser ones.
        IndexError: there is no such group.
    """

    cdef const int64_t[::1] caps
    cdef const double[::1] cost
    cdef const int64_t[::1] fine
    cdef const int64_t[::1] fine_left
    cdef const int64_t[::1] coarse_left
    cdef const uint8_t[::1] fine_used
    cdef const uint8_t[::1] coarse_used
    cdef object members  # candidates in the order of their finer groups
    cdef object begins  # the first of each finer group there
    cdef object order  # the finer groups in the order of their coarser ones
    cdef object parents  # the coarser group of each finer one; -1: it has no candidates

    def __init__(
        self,
        const int64_t[::1] caps,
        const double[::1] cost,
        const int64_t[::1] fine,
        const int64_t[::1] coarse,
        const int64_t[::1] fine_left,
        const int64_t[::1] coarse_left,
        const uint8_t[::1] fine_used,
        const uint8_t[::1] coarse_used,
    ):
        cdef Py_ssize_t index
        _check_length(cost.shape[0], caps.shape[0])
        _check_length(fine.shape[0], caps.shape[0])
        _check_length(coarse.shape[0], caps.shape[0])
        _check_length(fine_used.shape[0], fine_left.shape[0])
        _check_length(coarse_used.shape[0], coarse_left.shape[0])
        _check_slots(fine, fine_left.shape[0])
        _check_slots(coarse, coarse_left.shape[0])
        self.caps, self.cost, self.fine = caps, cost, fine
        self.fine_left, self.coarse_left = fine_left, coarse_left
        self.fine_used, self.coarse_used = fine_used, coarse_used
        self.parents = np.full(fine_left.shape[0], -1, np.int64)
        cdef int64_t[::1] parents = self.parents
        for index in range(caps.shape[0]):
            if parents[fine[index]] not in (-1, coarse[index]):
                raise ValueError(f"group {fine[index]} is in two groups")
            parents[fine[index]] = coarse[index]
        by_fine = np.asarray(fine)
        self.members = by_fine.argsort(kind="stable")
        counts = np.bincount(by_fine, minlength=fine_left.shape[0])
        self.begins = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        self.order = self.parents.argsort(kind="stable")

    def divide(
        self,
        Py_ssize_t missing,
        Py_ssize_t fine_least,
        Py_ssize_t fine_most,
        Py_ssize_t coarse_least,
        Py_ssize_t coarse_most,
        Py_ssize_t max_steps,
    ):
        """Divides replicas.

        Args:
            missing: how many.
            fine_least: the fewest finer groups to be used besides those that are.
            fine_most: the most of them; negative: no limit.
            coarse_least: the fewest coarser groups to be used besides those that are.
            coarse_most: the most of them; negative: no limit.
            max_steps: the most steps; with more there is no answer.

        Returns:
            The cheapest division, [candidates], what it costs, and what the cheapest of all others
            costs; the first is None if there is none, all are None if it took too many steps.
        """
        cdef const int64_t[::1] members = self.members
        cdef const int64_t[::1] begins = self.begins
        cdef const int64_t[::1] order = self.order
        cdef const int64_t[::1] parents = self.parents
        cdef Py_ssize_t fines = self.fine_left.shape[0]
        cdef Py_ssize_t coarses = self.coarse_left.shape[0]
        # Where more are allowed, states with more than are needed count as those that are needed.
        cdef Py_ssize_t fine_states = (fine_least if fine_most < 0 else fine_most) + 1
        cdef Py_ssize_t coarse_states = (coarse_least if coarse_most < 0 else coarse_most) + 1
        cdef Py_ssize_t counts = missing + 1
        cdef Py_ssize_t one = fine_states * counts  # the states of one coarser group
        cdef Py_ssize_t whole = coarse_states * one
        cdef Py_ssize_t fine_at
        cdef Py_ssize_t group
        cdef Py_ssize_t parent
        cdef Py_ssize_t state
        cdef Py_ssize_t index
        cdef Py_ssize_t most
        cdef double steps = 0.0
        cdef Cheapness* curve = NULL
        cdef Cheapness* here = NULL
        cdef Cheapness* next_here = NULL
        cdef Cheapness* total = NULL
        cdef Cheapness* next_total = NULL
        cdef Cheapness* swapped
        if fine_least >= fine_states or coarse_least >= coarse_states or missing < 1:
            return None, INFINITY, INFINITY
        for group in range(fines):
            most = min(missing, self.fine_left[group])
            steps += <double>fine_states * counts * (most + 1) / 2.0
        steps += <double>coarses * coarse_states * fine_states * fine_states * counts * counts / 4.0
        if steps > max_steps or (<double>fines * one + <double>coarses * whole) > max_steps / 8.0:
            return None, None, None
        fine_choice = np.full((fines, one), -1, np.int64)
        coarse_choice = np.full((coarses, whole), -1, np.int64)
        coarse_from = np.full((coarses, whole), -1, np.int64)
        fine_from = np.full((fines, one), -1, np.int64)
        cdef int64_t[:, ::1] chosen = fine_choice
        cdef int64_t[:, ::1] came_from = fine_from
        cdef int64_t[:, ::1] chosen_state = coarse_choice
        cdef int64_t[:, ::1] came_from_state = coarse_from
        curve = <Cheapness*>PyMem_Malloc((counts + 2 * one + 2 * whole) * sizeof(Cheapness))
        if curve == NULL:
            raise MemoryError
        here, next_here = curve + counts, curve + counts + one
        total, next_total = curve + counts + 2 * one, curve + counts + 2 * one + whole
        try:
            for state in range(whole):
                total[state].best = total[state].second = INFINITY
            total[0].best = 0.0
            fine_at = 0
            while fine_at < fines and parents[order[fine_at]] < 0:
                fine_at += 1
            while fine_at < fines:
                parent = parents[order[fine_at]]
                for state in range(one):
                    here[state].best = here[state].second = INFINITY
                here[0].best = 0.0
                while fine_at < fines and parents[order[fine_at]] == parent:
                    group = order[fine_at]
                    most = self._write_curve(
                        &members[begins[group]] if begins[group] < begins[group + 1] else NULL,
                        begins[group + 1] - begins[group],
                        min(missing, self.fine_left[group]),
                        curve,
                    )
                    self._add_fine(
                        here, next_here, curve, most, counts, fine_states, fine_most < 0,
                        self.fine_used[group], min(missing, self.coarse_left[parent]),
                        &chosen[group, 0], &came_from[group, 0],
                    )
                    swapped = here
                    here = next_here
                    next_here = swapped
                    fine_at += 1
                self._add_coarse(
                    total, next_total, here, counts, fine_states, coarse_states, fine_most < 0,
                    coarse_most < 0, self.coarse_used[parent],
                    &chosen_state[parent, 0], &came_from_state[parent, 0],
                )
                swapped = total
                total = next_total
                next_total = swapped
            # More than are needed count as needed only where they are allowed; else each counts.
            return self._collect(
                total, counts, fine_states, coarse_states, fine_least, coarse_least,
                fine_choice, fine_from, coarse_choice, coarse_from,
            )
        finally:
            PyMem_Free(curve)

    cdef Py_ssize_t _write_curve(
        self, const int64_t* members, Py_ssize_t count, Py_ssize_t most, Cheapness* curve
    ) noexcept nogil:
        """What 0, 1, … replicas of one finer group cost; returns how many it takes, up to `most`."""
        cdef Py_ssize_t replicas = 0
        cdef Py_ssize_t index = 0
        cdef int64_t used = 0  # of the candidate
        cdef Py_ssize_t previous = -1
        cdef Py_ssize_t following
        cdef double other
        curve[0].best = 0.0
        curve[0].second = INFINITY
        while replicas < most:
            while index < count and used >= self.caps[members[index]]:
                if self.caps[members[index]] > 0:
                    previous = index
                index += 1
                used = 0
            if index >= count:
                break
            replicas += 1
            used += 1
            curve[replicas].best = curve[replicas - 1].best + self.cost[members[index]]
            # The next best moves one replica: from here to the next, or here from the one before.
            other = INFINITY
            following = index + 1
            while following < count and self.caps[members[following]] <= 0:
                following += 1
            if following < count:
                other = self.cost[members[following]] - self.cost[members[index]]
            if previous >= 0 and used < self.caps[members[index]]:
                other = min(other, self.cost[members[index]] - self.cost[members[previous]])
            curve[replicas].second = curve[replicas].best + other
        return replicas

    cdef void _add_fine(
        self, const Cheapness* here, Cheapness* found, const Cheapness* curve, Py_ssize_t most,
        Py_ssize_t counts, Py_ssize_t states, bint is_open_ended, bint is_used, Py_ssize_t limit,
        int64_t* chosen, int64_t* came_from,
    ) noexcept nogil:
        """Adds a finer group to the states of its coarser one."""
        cdef Py_ssize_t used
        cdef Py_ssize_t before
        cdef Py_ssize_t more
        cdef Py_ssize_t then
        cdef Py_ssize_t at
        cdef bint is_better = False
        for at in range(states * counts):
            found[at].best = found[at].second = INFINITY
        for used in range(states):
            for before in range(limit + 1):
                if here[used * counts + before].best == INFINITY:
                    continue
                for more in range(min(most, limit - before) + 1):
                    then = used + (1 if more and not is_used else 0)
                    if then >= states:
                        if not is_open_ended:
                            break
                        then = states - 1
                    at = then * counts + before + more
                    _offer(&found[at], &here[used * counts + before], &curve[more], &is_better)
                    if is_better:
                        chosen[at] = more
                        came_from[at] = used * counts + before

    cdef void _add_coarse(
        self, const Cheapness* total, Cheapness* found, const Cheapness* here, Py_ssize_t counts,
        Py_ssize_t states, Py_ssize_t coarse_states, bint is_open_ended, bint is_coarse_open_ended,
        bint is_used, int64_t* chosen, int64_t* came_from,
    ) noexcept nogil:
        """Adds a coarser group to the states of all."""
        cdef Py_ssize_t groups
        cdef Py_ssize_t used
        cdef Py_ssize_t before
        cdef Py_ssize_t inner
        cdef Py_ssize_t more
        cdef Py_ssize_t groups_then
        cdef Py_ssize_t then
        cdef Py_ssize_t at
        cdef Py_ssize_t source
        cdef bint is_better = False
        for at in range(coarse_states * states * counts):
            found[at].best = found[at].second = INFINITY
        for groups in range(coarse_states):
            for used in range(states):
                for before in range(counts):
                    source = (groups * states + used) * counts + before
                    if total[source].best == INFINITY:
                        continue
                    for inner in range(states):
                        then = used + inner
                        if then >= states:
                            if not is_open_ended:
                                break
                            then = states - 1
                        for more in range(counts - before):
                            if here[inner * counts + more].best == INFINITY:
                                continue
                            groups_then = groups + (1 if more and not is_used else 0)
                            if groups_then >= coarse_states:
                                if not is_coarse_open_ended:
                                    break
                                groups_then = coarse_states - 1
                            at = (groups_then * states + then) * counts + before + more
                            _offer(&found[at], &total[source], &here[inner * counts + more], &is_better)
                            if is_better:
                                chosen[at] = inner * counts + more
                                came_from[at] = source

    cdef object _collect(
        self, const Cheapness* total, Py_ssize_t counts, Py_ssize_t states, Py_ssize_t coarse_states,
        Py_ssize_t fine_least, Py_ssize_t coarse_least,
        const int64_t[:, ::1] chosen, const int64_t[:, ::1] came_from,
        const int64_t[:, ::1] chosen_state, const int64_t[:, ::1] came_from_state,
    ):
        """The cheapest of the states that are allowed, as replicas by candidate."""
        cdef const int64_t[::1] members = self.members
        cdef const int64_t[::1] begins = self.begins
        cdef const int64_t[::1] order = self.order
        cdef const int64_t[::1] parents = self.parents
        cdef double best = INFINITY
        cdef double second = INFINITY
        cdef Py_ssize_t state = -1
        cdef Py_ssize_t groups
        cdef Py_ssize_t used
        cdef Py_ssize_t at
        cdef Py_ssize_t fine_at
        cdef Py_ssize_t group
        cdef Py_ssize_t parent
        cdef Py_ssize_t inner
        cdef Py_ssize_t index
        cdef int64_t left
        for groups in range(coarse_least, coarse_states):
            for used in range(fine_least, states):
                at = (groups * states + used + 1) * counts - 1
                if total[at].best < best:
                    second = best
                    best = total[at].best
                    state = at
                else:
                    second = min(second, total[at].best)
                second = min(second, total[at].second)
        if state < 0:
            return None, INFINITY, INFINITY
        found = np.zeros(self.caps.shape[0], np.int64)
        cdef int64_t[::1] replicas = found
        fine_at = order.shape[0] - 1
        while fine_at >= 0 and parents[order[fine_at]] >= 0:
            parent = parents[order[fine_at]]
            inner = chosen_state[parent, state]
            state = came_from_state[parent, state]
            while fine_at >= 0 and parents[order[fine_at]] == parent:
                group = order[fine_at]
                left = chosen[group, inner]
                inner = came_from[group, inner]
                for index in range(begins[group], begins[group + 1]):
                    if left <= 0:
                        break
                    replicas[members[index]] = min(left, max(self.caps[members[index]], 0))
                    left -= replicas[members[index]]
                fine_at -= 1
        return found, best, second
