// Package bench measures what davit exists to be fast at, side by side with the
// floor: a bare containerd client that starts the same container into a network
// namespace that is ready. It asserts nothing; `make bench` prints the table.
//
// Machines differ and are noisy: the ratios of one run count, not the figures.
package bench
