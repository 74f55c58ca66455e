"""`lazy` computes an attribute once for each object."""

import msgspec

from scheduler.model.lazy import lazy


class _Counted(msgspec.Struct, frozen=True, dict=True):
    asked: list[str]

    @lazy
    def length(self) -> int:
        """How many names there are."""
        self.asked.append("length")
        return len(self.asked)


def test_an_attribute_is_computed_at_first_use_and_kept() -> None:
    one, other = _Counted([]), _Counted(["a"])
    assert (one.length, one.length, other.length) == (1, 1, 2)
    assert one.asked == ["length"]


def test_the_class_gives_the_attribute_itself_with_its_docstring() -> None:
    assert isinstance(_Counted.__dict__["length"], lazy)
    assert _Counted.length.__doc__ == "How many names there are."


def test_a_changed_copy_computes_it_again() -> None:
    one = _Counted([])
    assert one.length == 1
    assert msgspec.structs.replace(one, asked=["a", "b"]).length == 3
