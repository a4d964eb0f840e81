# davit on a cgroup v2 host: the cgroups of pods have the values that the real
# kubelet gave them for the same manifests, under each configuration.
. ./lib.sh
install -m 755 davit record /usr/local/bin/
install -m 644 davit.service /etc/systemd/system/davit.service
mkdir -p /etc/davit/manifests
cp -r images /etc/davit/
echo 16 >/proc/sys/vm/nr_hugepages
ip addr replace 192.0.2.10/32 dev lo
systemctl unmask containerd.service
systemctl daemon-reload
systemctl start containerd.service
for variant in default configured; do
	{
		echo 'nodeName: vm'
		echo 'nodeIPs: [192.0.2.10]'
		record config "$variant"
	} >/etc/davit/config.yaml
	systemctl start davit || fail "davit did not start"
	record pods localhost/test:1 /etc/davit/manifests unix:/run/davit/davit.sock || fail "the pods do not run"
	record compare v2.yaml "$variant" / unix:/run/davit/davit.sock || fail "cgroups of the variant $variant"
	echo "ok: cgroups of the variant $variant"
	systemctl stop davit
	davit cleanup --config /etc/davit/config.yaml || fail "davit cleanup"
	rm -rf /etc/davit/manifests/* /var/lib/davit
done
