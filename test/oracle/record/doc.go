// Package record plays the scenarios on a real kubelet and writes what it shows
// as goldens. There is nothing here but a test behind the build tag goldens,
// which `make goldens` runs.
//
// # Decisions
//
//   - Most scenarios are played at the same time on one cluster, a namespace
//     each. Those in which kubelet is killed would disturb the others: they are
//     played one after the other, in a few lanes with a cluster each.
//   - A golden that says the same as what is stored already is not written, so
//     that what only chance changed (see package golden) makes no commit.
//   - RECORD_TWICE=1 plays all of them twice and fails on those whose two
//     recordings differ: those would make a test that fails now and then. Facets
//     in which davit differs on purpose are left out of that, for the reason is
//     often that kubelet leaves them to chance; of events it only tells, for
//     davit is not compared with them.
//   - The cluster's directories are told as kubelet's usual ones.
//
// Out of scope: what davit shows of the same scenarios (test/e2e).
package record
