# First boot: davit as a systemd service on a cgroup v2 host.
. ./lib.sh
install -m 755 davit /usr/local/bin/davit
install -m 644 davit.service /etc/systemd/system/davit.service
mkdir -p /etc/davit
cp -r manifests images /etc/davit/
# The machine has no network device; a node needs an address all the same.
cat >/etc/systemd/system/node-address.service <<'E'
[Unit]
Before=davit.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip addr replace 192.0.2.10/32 dev lo
[Install]
WantedBy=multi-user.target
E
cat >/etc/davit/config.yaml <<'E'
nodeName: vm
nodeIPs: [192.0.2.10]
E
systemctl unmask containerd.service
systemctl daemon-reload
systemctl enable --now node-address.service containerd.service davit.service || fail "davit did not start"
[ "$(systemctl is-active davit)" = active ] || fail "davit is not active"
echo "ok: systemd was told that davit is ready"

poll 300 "the web pod" is web-vm "Running 2/2 0"
poll 120 "the limits pod" is limits-vm "Running 1/1 0"
poll 120 "the job" is job-vm "Completed 0/1 0"
poll 120 "the failed pod" is failed-vm "Error 0/1 0"
davit exec web -c server -- /web get http://localhost:8080/ | grep -q "written on web-vm" || fail "the containers of web do not reach each other"
echo "ok: localhost and the shared volume"

uid=$(davit get pods limits -o json | sed -n 's/.*"uid": *"\([^"]*\)".*/\1/p' | head -n 1)
cg=/sys/fs/cgroup/kubepods/burstable/pod$uid
[ "$(cat "$cg/memory.max")" = 67108864 ] || fail "memory.max of $cg is $(cat "$cg/memory.max")"
[ "$(cat "$cg/cpu.max")" = "50000 100000" ] || fail "cpu.max of $cg is $(cat "$cg/cpu.max")"
for c in "$cg"/*/; do
	[ "$(cat "$c/memory.max")" = 67108864 ] || fail "memory.max of $c is $(cat "$c/memory.max")"
done
echo "ok: kubelet's cgroup layout on v2"

pids() { cat /sys/fs/cgroup/kubepods/pod*/*/cgroup.procs /sys/fs/cgroup/kubepods/*/pod*/*/cgroup.procs 2>/dev/null | sort -n | tr '\n' ' '; }
before=$(pids)
[ -n "$before" ] || fail "no processes of pods"
systemctl restart davit || fail "davit did not restart"
poll 60 "davit after a restart" is web-vm "Running 2/2 0"
[ "$(pids)" = "$before" ] || fail "a restart of davit touched a pod: $before, now $(pids)"
kill -9 "$(systemctl show -P MainPID davit)"
sleep 3
poll 120 "davit after kill -9" systemctl is-active davit
poll 120 "the pods after kill -9 of davit" is web-vm "Running 2/2 0"
[ "$(pids)" = "$before" ] || fail "the death of davit touched a pod: $before, now $(pids)"
systemctl restart containerd
poll 120 "the pods after a restart of containerd" is web-vm "Running 2/2 0"
[ "$(pids)" = "$before" ] || fail "a restart of containerd touched a pod: $before, now $(pids)"
echo "ok: restarts and a crash that no pod noticed"

davit get pods -o wide
for p in web limits job failed; do echo "$p $(row $p-vm | cut -d' ' -f4)"; done >/root/addresses
# No manifest is there after the reboot: what comes back comes from the record.
# The directory that is gone is one that cannot be read, not one that is empty.
mv /etc/davit/manifests /root/manifests
sync
