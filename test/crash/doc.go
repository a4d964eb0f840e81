// Package crash kills things: the agent, containerd and the log pump, by
// kill -9, at random moments while pods start, run and stop, and then looks
// whether the desired set runs, whether anything that should live was
// restarted, and whether anything leaked. `make test-long` runs the sweeps.
package crash
