"""All records of the cluster, and the answer to one query."""

from __future__ import annotations

import ipaddress
import random
import re
from dataclasses import dataclass, field

from kubereach_lab.dns.records import Record
from kubereach_lab.faults import HEALTHY, Faults

#: what the lab's upstream answers for: name, type and address (RFC 2606, RFC 5737)
_PUBLIC = ("public.example", "A", "192.0.2.80")
_POD_NAME = re.compile(r"^[0-9a-f-]+$")


@dataclass
class Answer:
    """What to put into the reply; `rcode` is the word of RFC 1035 (NOERROR, NXDOMAIN, SERVFAIL)."""

    rcode: str = "NOERROR"
    #: owner name ("" = the name that was asked, in the case in which it was asked), type, data
    answer: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)
    #: zone whose SOA goes into the authority section of a negative answer
    soa: str = ""
    #: answered from the cluster's own data
    authoritative: bool = True


class Zone:
    """Records by name and type, changed Service by Service."""

    def __init__(self, domain: str, dns_address: str, faults: Faults = HEALTHY) -> None:
        self.domain = domain
        self._faults = faults
        self._by_service: dict[str, list[Record]] = {}
        self._names: dict[str, dict[str, list[str]]] = {}
        self._namespaces: set[str] = set()
        self._fixed: list[Record] = [
            *([] if faults.dns.no_schema_version else [(f"dns-version.{domain}", "TXT", '"1.1.0"')]),
            (f"ns.dns.{domain}", "AAAA" if ":" in dns_address else "A", dns_address),
            (domain, "NS", f"kube-dns.kube-system.svc.{domain}"),
        ]
        self._add(self._fixed)

    def set_service(self, key: str, records: list[Record]) -> None:
        """Replace the records of the Service `key` (``namespace/name``); an empty list removes it."""
        for owner, kind, data in self._by_service.pop(key, []):
            kinds = self._names[owner]
            kinds[kind].remove(data)
            if not kinds[kind]:
                del kinds[kind]
            if not kinds:
                del self._names[owner]
        if records:
            self._by_service[key] = records
            self._add(records)

    def set_namespaces(self, names: list[str]) -> None:
        self._namespaces = set(names)

    def _add(self, records: list[Record]) -> None:
        for owner, kind, data in records:
            self._names.setdefault(owner, {}).setdefault(kind, []).append(data)

    def answer(self, name: str, kind: str) -> Answer:
        """Answer a query for `name` (no final dot, any case) and record type `kind`."""
        lower = name if self._faults.dns.case_sensitive else name.lower()
        if kind == "AAAA" and self._faults.dns.servfail_aaaa:
            return Answer("SERVFAIL")
        if lower.endswith((".in-addr.arpa", ".ip6.arpa")):
            return self._reverse(lower, kind)
        if lower != self.domain and not lower.endswith(f".{self.domain}"):
            # Not ours: it would be asked of an upstream. A lab's knows one name.
            if lower == _PUBLIC[0] and not self._faults.dns.no_upstream:
                records: list[Record] = [("", kind, _PUBLIC[2])] if kind == _PUBLIC[1] else []
                return Answer(answer=records, authoritative=False)
            return Answer("SERVFAIL", authoritative=False)
        kinds = self._names.get(lower) or self._names.get(_without_underscores(lower)) or {}
        if "CNAME" in kinds:
            return self._alias(kinds["CNAME"][0], kind)
        found = kinds.get(kind, [])
        if found:
            return self._positive(kind, found)
        if kind == "SOA" and lower == self.domain:
            return Answer(soa=self.domain)
        pod = self._pod(lower, kind)
        if pod is not None:
            return pod
        if self._faults.dns.cross_namespace_leak and (leaked := self._leak(lower, kind)):
            return self._positive(kind, leaked)
        # As CoreDNS has it: an SOA is denied for no name of the zone, a TXT for every one that has no records.
        exists = kind == "SOA" or (kind != "TXT" and self._is_branch(lower))
        exists = exists or (bool(kinds) and lower not in (self.domain, f"dns-version.{self.domain}"))
        exists = exists or self._faults.dns.nxdomain_as_nodata
        return Answer("NOERROR" if exists else "NXDOMAIN", soa=self.domain)

    def _leak(self, name: str, kind: str) -> list[str]:
        """The records of a like-named Service of any namespace."""
        first, _, rest = name.partition(".")
        if rest.count(".") != self.domain.count(".") + 2:
            return []
        return next(
            (
                kinds[kind]
                for owner, kinds in self._names.items()
                if owner.split(".")[0] == first and kind in kinds
            ),
            [],
        )

    def _positive(self, kind: str, data: list[str]) -> Answer:
        data = random.sample(data, len(data)) if len(data) > 1 else data
        if kind != "SRV":
            answer = Answer(answer=[("", kind, item) for item in data])
            if kind == "NS":
                answer.additional = [(d, "A", a) for d in data for a in self._names.get(d, {}).get("A", [])]
            return answer
        weight = 100 // len(data)
        answer = Answer(answer=[("", "SRV", f"0 {weight} {item}") for item in data])
        for target in dict.fromkeys(item.split()[1] for item in data):
            for family in ("A", "AAAA"):
                answer.additional += [
                    (target, family, a) for a in self._names.get(target, {}).get(family, [])
                ]
        return answer

    def _alias(self, target: str, kind: str) -> Answer:
        alias = ("", "CNAME", target)
        if kind == "CNAME":
            return Answer(answer=[alias])
        if kind not in ("A", "AAAA"):
            return Answer(soa=self.domain)
        if not target.endswith(f".{self.domain}"):
            return Answer(answer=[alias])
        found = self._names.get(target, {}).get(kind, [])
        if not found:  # CoreDNS answers for the target, and drops the alias with it
            return Answer(soa=self.domain)
        return Answer(answer=[alias, *((target, kind, data) for data in found)])

    def _reverse(self, name: str, kind: str) -> Answer:
        found = self._names.get(name, {}).get("PTR", [])
        if kind == "PTR" and found:
            return self._positive("PTR", found)
        if kind == "SOA":
            return Answer(soa="ip6.arpa" if name.endswith(".ip6.arpa") else "in-addr.arpa")
        return Answer("SERVFAIL", authoritative=False)  # falls through to the upstream that there is not

    def _pod(self, name: str, kind: str) -> Answer | None:
        """``a-b-c-d.namespace.pod``: the address that the name spells, whether a pod has it or not (pods insecure)."""
        labels = name[: -len(self.domain) - 1].split(".")
        if self._faults.dns.no_pod_records:
            return None
        if len(labels) != 3 or labels[2] != "pod" or labels[1] not in self._namespaces:
            return None
        label = labels[0]
        if not _POD_NAME.match(label):
            return None
        text = (
            label.replace("-", ".")
            if label.count("-") == 3 and "--" not in label
            else label.replace("-", ":")
        )
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        family = "A" if address.version == 4 else "AAAA"
        return Answer(answer=[("", kind, str(address))]) if kind == family else Answer(soa=self.domain)

    def _is_branch(self, name: str) -> bool:
        """Names without records that exist all the same: the zone, svc and pod, and each namespace below them."""
        if name == self.domain:
            return True
        labels = name[: -len(self.domain) - 1].split(".")
        return labels[-1] in ("svc", "pod") and (
            len(labels) == 1 or (len(labels) == 2 and labels[0] in self._namespaces)
        )


def _without_underscores(name: str) -> str:
    labels = name.split(".")
    if len(labels) < 5 or not (labels[0].startswith("_") and labels[1] in ("_tcp", "_udp", "_sctp")):
        return ""
    return ".".join([labels[0][1:], labels[1][1:], *labels[2:]])
