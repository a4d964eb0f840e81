// Package etc makes the text of the files in /etc that a pod gets from its node:
// hosts and resolv.conf, as kubelet makes them. It is pure; agent/pods reads the
// host's files and writes the pod's.
package etc
