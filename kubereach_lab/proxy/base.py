"""The rules of a node that do not depend on any Service."""

from __future__ import annotations

from kubereach_lab.config import AddressPlan, LabConfig
from kubereach_lab.proxy.modes import Mode, mode_of

#: the upper half of the ports that Linux gives to clients (net.ipv4.ip_local_port_range)
_UPPER = "46884-60999"
MASQUERADE_MARK = "0x4000"


def table(plan: AddressPlan) -> str:
    """The table of a family: each has one of its own, and rules of the same layout."""
    return f"{plan.nft} kube-proxy"


def base_rules(config: LabConfig, plan: AddressPlan, node_address: str) -> str:
    """Maps, hooks and helper chains of a family; the Services only add elements to the maps and chains of their own.

    Source: KEP-3866; the outcomes that it must give are those of kube-proxy's mode that the lab has.
    """
    ip, address = plan.nft, f"ipv{plan.version}_addr"
    mode = mode_of(config.proxy_mode, plan)
    key = f"{address} . inet_proto . inet_service"
    refuse = "drop" if config.faults.proxy.no_reject else "reject"
    node_addresses = _node_port_addresses(config, plan, node_address)
    last = node_address == plan.node_address(config.nodes - 1)
    upper = f"ct state new {ip} daddr @cluster-ips tcp sport {_UPPER} drop"
    lost_ports = upper if config.faults.proxy.upper_ports_lost and last else ""
    more_maps, more_rules = _served_besides(config, plan, mode)
    endpoint_check = f"ct state new {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services"
    return f"""
    table {table(plan)} {{
        set cluster-ips {{ type {address}; }}
        set nodeport-ips {{ type {address}; {node_addresses} }}
        map service-ips {{ type {key} : verdict; }}
        map service-nodeports {{ type inet_proto . inet_service : verdict; }}
        map no-endpoint-services {{ type {key} : verdict; }}
        map no-endpoint-nodeports {{ type inet_proto . inet_service : verdict; }}
        map firewall-ips {{ type {key} : verdict; }}
        {more_maps}

        chain reject-chain {{ {refuse}; }}
        chain mark-for-masquerade {{ meta mark set meta mark or {MASQUERADE_MARK}; }}
        chain cluster-ips-check {{ {mode.undeclared} }}
        chain firewall-check {{ {ip} daddr . meta l4proto . th dport vmap @firewall-ips; }}
        chain services {{
            {ip} daddr . meta l4proto . th dport vmap @service-ips
            {mode.at_node} meta l4proto . th dport vmap @service-nodeports
            {more_rules}
        }}

        chain filter-prerouting {{
            type filter hook prerouting priority dstnat - 10;
            ct state new jump firewall-check
            {lost_ports}
        }}
        chain filter-input {{
            type filter hook input priority -110;
            ct state new {mode.at_node} meta l4proto . th dport vmap @no-endpoint-nodeports
            {endpoint_check}
            {"" if config.faults.proxy.node_listeners else mode.incoming}
        }}
        chain filter-forward {{
            type filter hook forward priority -110;
            {endpoint_check}
            ct state new jump cluster-ips-check
        }}
        chain filter-output {{
            type filter hook output priority -110;
            ct state new jump firewall-check
            {lost_ports}
        }}
        chain filter-output-post-dnat {{
            # after translation, as in filter-forward: a node's own traffic to an address under a Local policy is
            # short-cut to the endpoints of other nodes, and only what was not is dropped
            type filter hook output priority -90;
            {mode.reject_on_node} {endpoint_check}
            ct state new jump cluster-ips-check
        }}
        chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
        chain nat-output {{ type nat hook output priority -100; jump services; }}
        chain nat-postrouting {{
            type nat hook postrouting priority srcnat;
            meta mark and {MASQUERADE_MARK} == 0 return
            meta mark set meta mark xor {MASQUERADE_MARK}
            masquerade fully-random
        }}
    }}
    """


def _node_port_addresses(config: LabConfig, plan: AddressPlan, node_address: str) -> str:
    """The elements of the set of addresses that node ports are served at."""
    if config.faults.dualstack.no_node_port and plan is not config.plans[0]:
        return ""
    first = node_address == plan.node_address(0)
    if config.faults.proxy.node_port_one_address and not first:
        return ""
    localhost = config.faults.proxy.localhost_on_one_node and first and plan.version == 4
    return f"elements = {{ {node_address}{', 127.0.0.1' if localhost else ''} }};"


def _served_besides(config: LabConfig, plan: AddressPlan, mode: Mode) -> tuple[str, str]:
    """Maps and rules of what faults serve where nothing else is: what was given up, and ports that nobody declared."""
    ip, address = plan.nft, f"ipv{plan.version}_addr"
    maps, rules = "", ""
    if config.faults.proxy.node_port_kept or config.faults.lb.address_kept:
        maps += f"""
        map kept-ips {{ type {address} . inet_proto . inet_service : verdict; }}
        map kept-nodeports {{ type inet_proto . inet_service : verdict; }}"""
        rules += f"""
            {ip} daddr . meta l4proto . th dport vmap @kept-ips
            {mode.at_node} meta l4proto . th dport vmap @kept-nodeports"""
    if config.faults.proxy.undeclared_ports:
        maps += f"""
        map any-port-ips {{ type {address} : verdict; }}"""
        rules += f"""
            meta l4proto tcp {ip} daddr vmap @any-port-ips"""
    if config.faults.proxy.same_port:
        maps += f"""
        map same-port-ips {{ type {address} : verdict; }}"""
        rules += f"""
            meta l4proto {{ tcp, udp }} {ip} daddr vmap @same-port-ips"""
    return maps, rules
