// Package strictyaml turns YAML or JSON text into Go values and is strict about
// it: an unknown key, a key that stands twice, a number where a text belongs
// are all problems, every one of them is reported (not the first only), and
// each has the line and the path of its field and, for a misspelt key, the
// nearest key that exists.
//
// Decoding is done in two steps: Parse makes a small tree of nodes that know
// their lines; Document.Decode fills a Go value from it by reflection, following
// the `json` tags, so the types of k8s.io/api and davit's own configuration are
// read by the same code. A YAML library that fills the value itself gives
// neither all problems at once nor paths with indices.
//
// Scalars mean what they mean to Kubernetes, which reads YAML 1.1: yes, no, on
// and off are booleans when they stand without quotes, 0644 is octal, a date is
// a text. Keys are case-sensitive.
//
// Text that comes from elsewhere is bounded: size (MaxSize), depth (MaxDepth),
// and the number and length of values after aliases were expanded (MaxNodes,
// MaxText), which is what defeats alias bombs. What might begin a value is counted
// before the YAML library sees the text: it takes 350 bytes for each. One document that does not parse does not hide the
// others: the text is cut at its document markers first.
//
// Out of scope: writing YAML, comments, custom tags.
package strictyaml
