# Second boot: the pods come back from the record.
. ./lib.sh
poll 120 "davit after the reboot" systemctl is-active davit
[ ! -e /etc/davit/manifests ] || fail "the manifests are there"
# RESTARTS sums up both containers.
poll 300 "the web pod" is web-vm "Running 2/2 2"
poll 120 "the limits pod" is limits-vm "Running 1/1 1"
davit exec web -c server -- /web get http://localhost:8080/ | grep -q "written on web-vm" || fail "the containers of web do not reach each other"
is job-vm "Completed 0/1 0" || fail "the job is $(row job-vm)"
is failed-vm "Error 0/1 0" || fail "the failed pod is $(row failed-vm)"
echo "ok: what had finished stays finished"
for p in web limits; do
	was=$(awk -v p=$p '$1 == p {print $2}' /root/addresses)
	[ -n "$was" ] && [ "$(row $p-vm | cut -d' ' -f4)" = "$was" ] || fail "$p had the address $was and has $(row $p-vm)"
done
echo "ok: the addresses are what they were"
mv /root/manifests /etc/davit/manifests
sleep 5
is web-vm "Running 2/2 2" || fail "the manifests' return touched a pod: $(row web-vm)"
rm /etc/davit/manifests/web.yaml
gone() { [ -z "$(row web-vm)" ]; }
poll 120 "the end of a pod whose manifest was removed" gone
davit get pods -o wide
