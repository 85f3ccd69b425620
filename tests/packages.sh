#!/bin/sh
# System packages that the tests use: installed with root, named without.
missing=""
command -v etcd >/dev/null 2>&1 || missing="$missing etcd-server"
command -v diff >/dev/null 2>&1 || missing="$missing diffutils"
command -v openssl >/dev/null 2>&1 || missing="$missing openssl"
command -v runc >/dev/null 2>&1 || missing="$missing runc"
command -v conmon >/dev/null 2>&1 || missing="$missing conmon"
command -v busybox >/dev/null 2>&1 || missing="$missing busybox-static"
command -v crun >/dev/null 2>&1 || missing="$missing crun"
command -v containerd >/dev/null 2>&1 || missing="$missing containerd"
test -x /usr/lib/cni/bridge || missing="$missing containernetworking-plugins"
command -v dig >/dev/null 2>&1 || missing="$missing bind9-dnsutils"
command -v host >/dev/null 2>&1 || missing="$missing bind9-host"
command -v docker-registry >/dev/null 2>&1 || missing="$missing docker-registry"
command -v skopeo >/dev/null 2>&1 || missing="$missing skopeo"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
command -v nft >/dev/null 2>&1 || missing="$missing nftables"
command -v ip >/dev/null 2>&1 || missing="$missing iproute2"
command -v iptables >/dev/null 2>&1 || missing="$missing iptables"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "The tests need:$missing. Install with: sudo apt-get install$missing" >&2
    exit 1
fi
