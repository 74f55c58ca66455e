"""The steps of a rotation, and what agents make of the sets that they see."""

import json
from pathlib import Path

import pytest

from agents.protocol.errors import WireError
from agents.protocol.hub_trust.archive_signature import check_archive_signature
from agents.protocol.hub_trust.key_set import HubKeySet
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.runtime.hub_trust import HUB_KEYS_FILE, HubTrust
from scheduler.cli.entry import main
from scheduler.key_rotation.key_files import (
    KEY_SET_FILE,
    PREVIOUS_FILE,
    RotationRefused,
    certify,
    drop_retired,
    finish,
    make_root,
    prepare_next,
    read_key_set,
    retire,
    trust_root,
)
from scheduler.mqtt.keyring import load_or_make_key
from scheduler.runtime.data_dir import HUB_KEY_FILE, HUB_PUBLIC_KEY_FILE


def trust_of(folder: Path, *keys: SigningKey, roots: tuple[SigningKey, ...] = ()) -> HubTrust:
    folder.mkdir(exist_ok=True)
    return HubTrust(
        data_dir=folder,
        configured=tuple(str(key.public) for key in keys),
        roots=TrustedKeys([root.public for root in roots]),
    )


def set_of(sequence: int, *keys: SigningKey) -> HubKeySet:
    return HubKeySet(sequence=sequence, keys=tuple(str(key.public) for key in keys))


def test_a_rotation_goes_through_its_steps_in_order(tmp_path: Path) -> None:
    with pytest.raises(RotationRefused, match="no signing key"):
        prepare_next(tmp_path)
    old = load_or_make_key(tmp_path / HUB_KEY_FILE)
    for step in (finish, retire):
        with pytest.raises(RotationRefused):
            step(tmp_path)
    prepared = prepare_next(tmp_path)
    assert prepared.announced is not None
    assert prepared.announced.keys == (str(old.public), str(prepared.next))
    with pytest.raises(RotationRefused, match="already"):
        prepare_next(tmp_path)
    finished = finish(tmp_path)
    assert str(finished.signing) == str(prepared.next)
    assert (tmp_path / HUB_PUBLIC_KEY_FILE).read_text().strip() == str(finished.signing)
    assert finished.previous is not None
    assert str(finished.previous.public) == str(old.public)
    assert (tmp_path / PREVIOUS_FILE).stat().st_mode & 0o077 == 0
    with pytest.raises(RotationRefused, match="still valid"):
        prepare_next(tmp_path)
    retired = retire(tmp_path)
    assert retired.previous is None
    assert retired.announced == HubKeySet(sequence=2, keys=(str(retired.signing),))


def test_a_root_holds_each_step_until_it_has_certified_the_set(tmp_path: Path) -> None:
    load_or_make_key(tmp_path / HUB_KEY_FILE)
    root = make_root(tmp_path / "root.key")
    with pytest.raises(FileExistsError):
        make_root(tmp_path / "root.key")
    trust_root(tmp_path, str(root.public))
    with pytest.raises(RotationRefused, match="names"):
        trust_root(tmp_path, str(SigningKey.generate().public))
    assert not prepare_next(tmp_path).is_certified
    with pytest.raises(RotationRefused, match="not certified"):
        finish(tmp_path)
    certify(tmp_path / KEY_SET_FILE, SigningKey.generate())  # another root's word
    with pytest.raises(RotationRefused, match="not certified"):
        finish(tmp_path)
    certify(tmp_path / KEY_SET_FILE, root)
    finish(tmp_path)
    state = retire(tmp_path)
    drop_retired(tmp_path, state)
    assert (tmp_path / PREVIOUS_FILE).exists()  # the root has not certified that yet
    certify(tmp_path / KEY_SET_FILE, root)
    (tmp_path / KEY_SET_FILE).write_bytes(b"{")
    with pytest.raises(RotationRefused, match="not a set"):
        read_key_set(tmp_path / KEY_SET_FILE)


def test_an_agent_learns_newer_sets_and_keeps_them(tmp_path: Path) -> None:
    old, new = SigningKey.generate(), SigningKey.generate()
    trust = trust_of(tmp_path / "a", old)
    assert trust.accept(set_of(1, old, new))
    assert not trust.accept(set_of(1, new))
    assert not trust.accept(set_of(0, new))
    assert trust.trusted.ids() == {old.public.kid, new.public.kid}
    assert trust_of(tmp_path / "a", old).trusted.ids() == trust.trusted.ids()
    assert trust.accept(set_of(2, new))
    assert trust_of(tmp_path / "a", old).trusted.ids() == {new.public.kid}
    # A person who writes other keys into the settings is believed.
    other = SigningKey.generate()
    assert trust_of(tmp_path / "a", other).trusted.ids() == {other.public.kid}
    for damage in (b"", b"[]", b'{"under": 1}', b"\xff", json.dumps({"under": []}).encode()):
        (tmp_path / "a" / HUB_KEYS_FILE).write_bytes(damage)
        assert trust_of(tmp_path / "a", old).trusted.ids() == {old.public.kid}


def test_an_agent_that_knows_a_root_takes_only_what_it_has_certified(tmp_path: Path) -> None:
    stolen, thief, new, root = (SigningKey.generate() for _ in range(4))
    trust = trust_of(tmp_path / "a", stolen, roots=(root,))
    certified = set_of(1, new).certified_by(root)
    forged = HubKeySet(
        sequence=2,
        keys=(str(thief.public),),
        root=certified.root,
        certificate=certified.certificate,
    )
    for each in (set_of(5, thief), set_of(5, thief).certified_by(thief), forged):
        with pytest.raises(WireError, match="root has not certified"):
            trust.accept(each)
    for odd in (HubKeySet(sequence=9, keys=()), HubKeySet(sequence=9, keys=("ed25519:x",))):
        with pytest.raises(WireError):
            trust.accept(odd)
    assert trust.trusted.ids() == {stolen.public.kid}
    assert trust.accept(certified)
    assert trust.trusted.ids() == {new.public.kid}


def test_the_hubs_key_signs_an_archive_of_the_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, key = tmp_path / "a.tar.gz", SigningKey(b"h" * 32)
    archive.write_bytes(b"\x1f\x8bdata")
    words = ["keys", "sign", str(archive), "--data-dir", str(tmp_path)]
    assert main(words) == 1, "no key is made for it"
    (tmp_path / HUB_KEY_FILE).touch(mode=0o600)
    (tmp_path / HUB_KEY_FILE).write_bytes(key.raw())
    capsys.readouterr()
    assert main([*words, "-o", "json"]) == 0
    digest = json.loads(capsys.readouterr().out)["sha256"]
    text = (tmp_path / "a.tar.gz.sig").read_text()
    check_archive_signature(text, digest, TrustedKeys([key.public]))
    archive.write_bytes(b"no archive")
    assert main(words) == 1
