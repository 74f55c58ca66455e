"""The authority: what it issues, what it refuses to be, and how it is kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from scheduler.pki.authority import Authority, AuthorityError, names_of, needs_renewal
from scheduler.pki.files import ensure_server_files, load_or_make_authority

NOW = datetime(2026, 12, 1, tzinfo=UTC)
LIFE = timedelta(days=90)


def test_a_site_of_the_longest_name_gets_a_certificate() -> None:
    authority, name = Authority.create(NOW), f"{'a' * 63}b"
    key = Ed25519PrivateKey.generate().public_key()
    issued = authority.issue_client(name, key, now=NOW, lifetime=LIFE)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    [found] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert found.value == name
    assert authority.has_issued(issued.pem)
    assert not Authority.create(NOW).has_issued(issued.pem)


def test_a_certificate_is_renewed_after_two_thirds_and_never_outlives_its_authority() -> None:
    authority = Authority.create(NOW)
    key = Ed25519PrivateKey.generate().public_key()
    pem = authority.issue_client("m1", key, now=NOW, lifetime=LIFE).pem
    assert not needs_renewal(pem, NOW + timedelta(days=59))
    assert needs_renewal(pem, NOW + timedelta(days=60))
    assert needs_renewal(b"damaged", NOW)
    late = authority.issue_client("m1", key, now=NOW + timedelta(days=3640), lifetime=LIFE)
    assert late.not_after == authority.certificate.not_valid_after_utc


def test_the_authority_is_made_once_and_its_loss_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    made = load_or_make_authority(folder, NOW)
    assert load_or_make_authority(folder, NOW).fingerprint == made.fingerprint
    file = folder / "authority.pem"
    assert file.stat().st_mode & 0o077 == 0
    file.chmod(0o644)
    with pytest.raises(AuthorityError, match="chmod 600"):
        load_or_make_authority(folder, NOW)
    file.chmod(0o600)
    (folder / "ca.crt").unlink()
    load_or_make_authority(folder, NOW)
    file.rename(folder / "elsewhere")
    with pytest.raises(AuthorityError, match="is lost"):
        load_or_make_authority(folder, NOW)
    file.write_text("damaged")
    file.chmod(0o600)
    with pytest.raises(AuthorityError, match="not a certificate"):
        load_or_make_authority(folder, NOW)
    assert "hidden" in repr(made)


def test_what_is_no_authority_is_refused() -> None:
    one, other = Authority.create(NOW), Authority.create(NOW)
    with pytest.raises(AuthorityError, match="not that of the certificate"):
        Authority.load(one.certificate_pem, other.key_pem)


def test_a_server_that_gets_another_name_gets_another_certificate(tmp_path: Path) -> None:
    authority = Authority.create(NOW)

    def ensure(*names: str) -> bool:
        return ensure_server_files(
            tmp_path, "broker", authority, list(names), now=NOW, lifetime=LIFE
        )[1]

    assert ensure("10.1.2.3")
    assert not ensure("10.1.2.3")
    assert ensure("10.1.2.3", "hub.example.cn")
    assert names_of((tmp_path / "broker.crt").read_bytes()) == {"10.1.2.3", "hub.example.cn"}
