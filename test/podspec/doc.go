// Package podspec holds docs/podspec.md to what davit does with the fields of a
// Pod.
//
// The page is written from the rows of agent/podspec/support and the Go types of
// the API:
//
//	go generate ./test/podspec
//
// A test fails when the page is not what is generated.
//
// Every field that is supported is shown to have an effect: the manifests in
// testdata set it, and the tests blank it there and look at what follows from the
// pod (the OCI spec, files, volumes, cgroups, what is decided and reported, what
// is probed). A field whose absence nobody notices is not supported, whatever the
// table says.
//
// # Decisions
//
// Fields are found in the manifests by their path, not listed by hand: a row that
// comes needs a manifest, and nothing else. What only shows with a kernel or a
// registry stands in a list that names the test which shows it.
//
// # Out of scope
//
// Whether the effect is the right one; that is what all other tests are for.
package podspec

//go:generate go run ./table -o ../../docs/podspec.md
