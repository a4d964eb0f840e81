// Package keyed serialises work on objects that have names: containers, images,
// blobs. One lock per name exists while somebody holds it.
package keyed
