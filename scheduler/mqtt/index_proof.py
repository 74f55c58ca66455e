"""Reads the proof of an index version: the whole index as a hub with our key has signed it.

A hub that was restored from a backup has forgotten its latest indexes, but its sites work by them.
A site's word about that counts for nothing, signed or not; the index itself counts, because
only the holder of our key can have made it. It is read as agents read it: signed for this site's
topic, and for the uid that this site has at the hub.
"""

from agents.protocol.envelope import unseal
from agents.protocol.errors import WireError
from agents.protocol.index import DESIRED_INDEX, digest_of
from agents.protocol.keys import TrustedKeys
from agents.protocol.topics import site_topic
from scheduler.control.ports.agents import ProofRefused, ProvenIndex


def read_index_proof(proof: str, *, site: str, site_uid: str, own_keys: TrustedKeys) -> ProvenIndex:
    """The version and digest of an index that one of our keys has signed for a site.

    Args:
        proof: the envelope, as the site keeps it.
        site: name of the site that sent it.
        site_uid: uid of the Site object of that name.
        own_keys: the keys that this hub signs with; no key of a site is among them.

    Raises:
        ProofRefused: it is not signed by us, was changed, or is an index of another site.
    """
    try:
        # Bounded where it comes in: it is one text of a message that was decoded.
        payload = unseal(
            proof.encode(errors="replace"), topic=site_topic(site, "desired"), trusted=own_keys
        )
        index = DESIRED_INDEX.decode(payload)
    except WireError as error:
        raise ProofRefused(error.reason, str(error)) from error
    if (index.site, index.site_uid) != (site, site_uid):
        raise ProofRefused(
            "wrong-site",
            f"the index is of site {index.site!r} with uid {index.site_uid!r}; the hub has"
            f" {site!r} with uid {site_uid!r}",
        )
    return ProvenIndex(version=index.version, digest=digest_of(payload))
