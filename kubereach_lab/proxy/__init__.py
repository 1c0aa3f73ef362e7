"""The service proxy: Services as nftables rules, laid out as kube-proxy's nftables mode lays them out (KEP-3866)."""
