# A real kubelet with containerd 2 on a cgroup v2 host, without an API server:
# what it gives to the cgroups of pods. The file variant names its configuration.
. ./lib.sh
install -m 755 kubernetes record containerd containerd-shim-runc-v2 /usr/local/bin/
mkdir -p /etc/kubelet/manifests /etc/containerd /run/containerd2 /var/lib/containerd2
echo 16 >/proc/sys/vm/nr_hugepages
ip addr replace 192.0.2.10/32 dev lo
ip route replace default dev lo
cat >/etc/containerd/oracle.toml <<'E'
version = 3
root = "/var/lib/containerd2"
state = "/run/containerd2"
[grpc]
  address = "/run/containerd2/sock"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  disable_hugetlb_controller = false
  cdi_spec_dirs = []
E
systemd-run --quiet --unit=containerd2 -p Delegate=yes -p KillMode=process \
	--setenv=PATH=/usr/local/bin:/usr/bin:/usr/sbin containerd -c /etc/containerd/oracle.toml
poll 120 "containerd" ctr -a /run/containerd2/sock version
for image in images/*.tar; do
	ctr -a /run/containerd2/sock -n k8s.io images import "$image" || fail "importing $image"
done
{
	cat <<'E'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd2/sock
staticPodPath: /etc/kubelet/manifests
readOnlyPort: 10255
address: 127.0.0.1
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failSwapOn: false
makeIPTablesUtilChains: false
serializeImagePulls: false
runtimeRequestTimeout: 10m
evictionHard: {memory.available: 10Mi, nodefs.available: 1Mi, nodefs.inodesFree: "1", imagefs.available: 1Mi, imagefs.inodesFree: "1"}
E
	record config "$(cat variant)"
} >/etc/kubelet/config.yaml
systemd-run --quiet --unit=kubelet -p KillMode=process --setenv=PATH=/usr/local/bin:/usr/bin:/usr/sbin \
	kubernetes kubelet --config /etc/kubelet/config.yaml --hostname-override vm --node-ip 192.0.2.10 -v 2
trap 'journalctl -u kubelet -u containerd2 --no-pager >/job/out/journal.log 2>&1 || true' EXIT
record pods localhost/test:1 /etc/kubelet/manifests http://127.0.0.1:10255/pods || fail "no manifests"
# kubelet sets the shares of the QoS classes once a minute.
record read / http://127.0.0.1:10255/pods 75s >/job/out/values.yaml || {
	journalctl -u kubelet --no-pager -n 60
	exit 1
}
