"""The taints of node profiles: each different set of them is asked about once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import any_tolerates
from scheduler.model.kinds.fields import Taint, Toleration

Bools = NDArray[np.bool_]
Codes = NDArray[np.int32]


_TaintSet = frozenset[Taint]
_NO_TAINTS: _TaintSet = frozenset()


class TaintIndex:
    """The taints of things that are numbered from 0; sets of taints that are gone are dropped."""

    def __init__(self) -> None:
        self._codes: Codes = np.zeros(16, np.int32)
        self._sets: list[_TaintSet] = [_NO_TAINTS]
        self._code_of: dict[_TaintSet, int] = {_NO_TAINTS: 0}
        self._uses: list[int] = [0]
        self._free_codes: list[int] = []
        self._with_key: dict[str, set[int]] = {}

    def write(self, number: int, taints: Sequence[Taint]) -> None:
        """Replaces the taints of a thing; a new one has none."""
        if number >= len(self._codes):
            more = np.zeros(max(number + 1, 2 * len(self._codes)) - len(self._codes), np.int32)
            self._codes = np.concatenate([self._codes, more])
        if not taints and not self._codes[number]:
            return
        hard = frozenset(
            Taint(key=each.key, value=each.value, effect=each.effect)
            for each in taints
            if each.effect != "PreferNoSchedule"
        )
        old, new = int(self._codes[number]), self._code(hard)
        self._uses[new] += 1
        self._uses[old] -= 1
        self._codes[number] = new
        if old and not self._uses[old]:
            self._drop(old)

    def _code(self, taints: _TaintSet) -> int:
        code = self._code_of.get(taints)
        if code is None:
            if self._free_codes:
                code = self._free_codes.pop()
                self._sets[code] = taints
            else:
                code = len(self._sets)
                self._sets.append(taints)
                self._uses.append(0)
            self._code_of[taints] = code
            for each in taints:
                self._with_key.setdefault(each.key, set()).add(code)
        return code

    def _drop(self, code: int) -> None:
        taints = self._sets[code]
        del self._code_of[taints]
        for key in {each.key for each in taints}:
            self._with_key[key].discard(code)
            if not self._with_key[key]:
                del self._with_key[key]
        self._sets[code] = _NO_TAINTS
        self._free_codes.append(code)

    def tolerated(self, tolerations: tuple[Toleration, ...], count: int) -> Bools:
        """Of which of the first `count` things the pods tolerate every taint; [count]."""
        holds = np.zeros(len(self._sets), np.bool_)
        holds[0] = True
        asked: set[int] = set()
        for each in tolerations:
            if each.key:
                asked |= self._with_key.get(each.key, set())
            else:
                asked.update(range(len(self._sets)))
        known: dict[Taint, bool] = {}
        for code in asked:
            for taint in self._sets[code] - known.keys():
                known[taint] = any_tolerates(tolerations, taint)
            holds[code] = all(known[taint] for taint in self._sets[code])
        return holds.take(self._codes[:count])
